import { type BumpAlloc, type Home, leaseAllocator, type Settings } from "./bump_alloc.ts";
import { ClosedError, PoolFullError, rangeError } from "./errors.ts";
import { formatBytes } from "./format.ts";
import { type Place, Region } from "./region.ts";
import { library } from "./native/library.ts";
import type { BumpPoolStats } from "./pool.ts";

/** Parts of a reservation start on such an offset when they are to have huge pages. */
const HUGE_PAGE = 2 * 1024 * 1024;

/** How slowly a pool forgets a burst: by this part at each return. */
const FORGET_LEASES = 1 / 64;

/** How slowly a slot forgets how much one lease has used: by this part at each return. */
const FORGET_BYTES = 1 / 8;

/** One part of a pool's memory, which serves one lease after another. */
class Slot implements Home {
  readonly #slots: Slots;
  place: Place;
  region: Region;
  /** What the latest lease used, in bytes. */
  used = 0;
  /** What its leases use, in bytes: the highest, slowly forgotten. */
  need = 0;

  constructor(slots: Slots) {
    this.#slots = slots;
    this.place = slots.nextPlace();
    this.region = this.#carve();
  }

  #carve(): Region {
    return Region.carve(this.place, this.#slots.settings, () => this.place = this.#slots.movedPlace());
  }

  endLease(): boolean {
    this.used = this.region.peak;
    if (!this.#slots.closed) {
      try {
        this.region.recycle();
        return true;
      } catch { /* the system refuses what is needed to use it again */ }
    }
    this.region.release();
    return false;
  }

  takeBack(serves: boolean): void {
    this.#slots.takeBack(this, serves);
  }

  /** Its lease was collected: takes the memory back once its views are gone, too. */
  abandon(): void {
    this.#slots.lose();
    const region = this.region;
    region.abandon(() => {
      if (!this.#slots.closed) {
        try {
          if (region.stolenEnd > 0) this.place = this.#slots.movedPlace();
          this.region = this.#carve();
        } catch {
          // An error in a finalization callback would end the program.
          return this.#slots.giveUp();
        }
      }
      this.#slots.recovered(this);
    });
  }

  /** Gives pages back when recent leases needed much less than what is resident. */
  cool(retain: number): void {
    this.need = Math.max(this.used, this.need - Math.ceil(this.need * FORGET_BYTES));
    const enough = Math.max(this.need, retain);
    if (this.region.high > 2 * enough) this.region.discard(enough);
  }
}

/**
 * The memory of a pool: who has which part of the reservation, what stays resident, who waits. It never refers
 * to the `BumpPool`, so that it can be the value that a `FinalizationRegistry` holds for it.
 */
export class Slots {
  readonly settings: Settings;
  readonly #limit: number;
  readonly #retain: number;
  readonly #reservations: Region[] = [];
  /** Offset in the last reservation where the next slot may go. */
  #next = Infinity;
  #stride = 0;
  /** Slots that exist, whoever has them. */
  #count = 0;
  /** Last in, first out: the ones at the beginning are used last, and are the first to be cold. */
  readonly #idle: Slot[] = [];
  /** So many idle ones, from the beginning, keep only what they shall retain. */
  #cold = 0;
  readonly #waiting: PromiseWithResolvers<BumpAlloc>[] = [];
  #leased = 0;
  #peak = 0;
  #leases = 0;
  #lost = 0;
  #moved = 0;
  /** How many leases there are at once: the highest count, slowly forgotten. */
  #demand = 0;
  closed = false;

  constructor(settings: Settings, limit: number) {
    const page = library().bump_page_size();
    const capacity = Math.ceil(settings.capacity / page) * page;
    // What retains bytes is the pool: a lease keeps all that it touches until it comes back.
    this.settings = { ...settings, capacity, retain: Infinity };
    this.#retain = settings.retain;
    this.#limit = limit;
    const unit = settings.hugePages ? HUGE_PAGE : page;
    // A page between two slots is never accessible: a native overrun faults.
    this.#stride = Math.ceil((capacity + page) / unit) * unit;
    if (limit * this.#stride > Number.MAX_SAFE_INTEGER) {
      throw rangeError(
        `Cannot make a pool: ${limit} allocators of ${formatBytes(capacity)} are more than addresses reach`,
      );
    }
    this.#reserve(limit);
  }

  // ---- places ----------------------------------------------------------------------------------

  #reserve(slots: number): void {
    this.#reservations.push(Region.create({ ...this.settings, capacity: slots * this.#stride }));
    this.#next = 0;
  }

  nextPlace(): Place {
    // Only places that transfers have taken make a further reservation necessary. Of a closed pool the last one may be
    // released, and its control block another region's by now.
    if (this.closed) this.#reserve(1);
    else if (this.#next + this.#stride > this.#reservations.at(-1)!.capacity) {
      this.#reserve(Math.ceil(this.#limit / 16));
    }
    const place = { parent: this.#reservations.at(-1)!, offset: this.#next };
    this.#next += this.#stride;
    return place;
  }

  /** A place instead of one whose memory went away with a transferred window. */
  movedPlace(): Place {
    this.#moved++;
    return this.nextPlace();
  }

  // ---- leases ----------------------------------------------------------------------------------

  /** @throws {PoolFullError} */
  lease(): BumpAlloc {
    if (this.closed) throw new ClosedError("lease", "pool");
    const slot = this.#idle.pop() ?? this.#grow();
    if (this.#idle.length < this.#cold) this.#cold = this.#idle.length;
    const leased = ++this.#leased;
    if (leased > this.#peak) this.#peak = leased;
    if (leased > this.#demand) this.#demand = leased;
    this.#leases++;
    const lease = leaseAllocator(slot.region, this.settings, slot);
    lostLeases.register(lease, slot, slot);
    return lease;
  }

  #grow(): Slot {
    if (this.#count >= this.#limit) throw new PoolFullError(this.#limit);
    const slot = new Slot(this);
    this.#count++;
    return slot;
  }

  /** Whether `lease` would not throw. */
  get available(): boolean {
    return this.#idle.length > 0 || this.#count < this.#limit;
  }

  /** As `lease`, when one comes back. */
  wait(): Promise<BumpAlloc> {
    const waiter = Promise.withResolvers<BumpAlloc>();
    this.#waiting.push(waiter);
    return waiter.promise;
  }

  takeBack(slot: Slot, serves: boolean): void {
    // Where the stack ends up to here, the lease is a lost one: the slot comes back when it is collected.
    lostLeases.unregister(slot);
    this.#leased--;
    if (this.closed) return this.#releaseReservations();
    if (!serves) return this.giveUp();
    this.#idle.push(slot);
    try {
      slot.cool(this.#retain);
      this.#coolIdle();
    } catch {
      // The system takes no pages back now: they stay resident, and are offered again at later returns.
    }
    this.#wake();
  }

  /** The system refuses what is needed to use a slot's memory again: another one is made when one is needed. */
  giveUp(): void {
    this.#count--;
    this.#wake();
  }

  /** A lease was collected that nobody had closed. */
  lose(): void {
    this.#leased--;
    this.#lost++;
  }

  /** The memory of a lost lease can be used again. */
  recovered(slot: Slot): void {
    if (this.closed) {
      this.#releaseReservations();
      return;
    }
    this.#idle.unshift(slot);
    this.#cold++;
    this.#wake();
  }

  #wake(): void {
    if (this.#waiting.length === 0 || !this.available) return;
    const waiter = this.#waiting.shift()!;
    try {
      waiter.resolve(this.lease());
    } catch (error) {
      waiter.reject(error);
    }
  }

  // ---- resident memory -------------------------------------------------------------------------

  /** After a burst: one idle slot that is not needed at once any more keeps only what it shall retain. */
  #coolIdle(): void {
    this.#demand = Math.max(this.#leased, this.#demand - this.#demand * FORGET_LEASES);
    const warm = this.#idle.length - this.#cold;
    if (warm > Math.ceil(this.#demand) - this.#leased + 1) this.#chill(this.#retain);
  }

  #chill(retain: number): void {
    const slot = this.#idle[this.#cold];
    if (slot.region.high > retain) slot.region.discard(retain);
    slot.need = Math.min(slot.need, retain);
    this.#cold++;
  }

  /** Every idle slot keeps `retain` bytes resident at most. */
  trim(retain: number): void {
    this.#cold = 0;
    while (this.#cold < this.#idle.length) this.#chill(retain);
  }

  // ---- statistics ------------------------------------------------------------------------------

  stats(): BumpPoolStats {
    return {
      limit: this.#limit,
      leased: this.#leased,
      idle: this.#idle.length,
      waiting: this.#waiting.length,
      peak: this.#peak,
      leases: this.#leases,
      lost: this.#lost,
      moved: this.#moved,
      reserved: this.closed ? 0 : this.#reservations.reduce((sum, region) => sum + region.capacity, 0),
      idleResident: this.#idle.reduce((sum, { region }) => sum + region.resident, 0),
    };
  }

  // ---- the end ---------------------------------------------------------------------------------

  /** Releases what is idle now, and what is leased when it comes back. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    for (const { region } of this.#idle.splice(0)) region.release();
    for (const { reject } of this.#waiting.splice(0)) reject(new ClosedError("lease", "pool"));
    this.#releaseReservations();
  }

  /** The parts that are still leased hold on to their reservation. */
  #releaseReservations(): void {
    for (const region of this.#reservations) region.release();
  }
}

/** Leases that are collected without having been closed. */
const lostLeases = new FinalizationRegistry<Slot>((slot) => slot.abandon());
