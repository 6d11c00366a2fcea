/* recycle.h - what a region remembers of the blocks that native libraries freed. */
#ifndef BUMP_RECYCLE_H
#define BUMP_RECYCLE_H

typedef struct region region_t;

/* The region's bytes are taken back: what was freed among them is forgotten. */
static inline void recycle_reset(region_t *region) { (void)region; }

#endif
