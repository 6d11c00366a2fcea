import { type BumpAlloc, type Home, leaseAllocator } from "./bump_alloc.ts";
import { listLeases, reportStale } from "./debug.ts";
import { ClosedError, PoolFullError } from "./errors.ts";
import { Hold, type Settings } from "./hold.ts";
import type { BumpPoolStats } from "./pool.ts";

/** How slowly a pool forgets a burst: by this part at each return. */
const FORGET_LEASES = 1 / 64;

/** How slowly a slot forgets how much one lease has used: by this part at each return. */
const FORGET_BYTES = 1 / 8;

/** A region that serves one lease after another. */
class Slot implements Home {
  readonly slots: Slots;
  readonly hold: Hold;
  /** What its leases use, in bytes: the highest, slowly forgotten. */
  need = 0;

  constructor(slots: Slots, settings: Settings) {
    this.slots = slots;
    this.hold = Hold.create(settings);
  }

  takeBack(): void {
    this.slots.takeBack(this);
  }

  goOn(): void {
    this.slots.goOn();
  }

  /** Makes the memory ready for the next lease; false when the system refuses what that needs. */
  recycle(): boolean {
    const { hold } = this;
    this.need = Math.max(hold.chunks.peak, this.need - Math.ceil(this.need * FORGET_BYTES));
    try {
      hold.prepareEnd();
    } catch (error) {
      if (error instanceof RangeError) throw error; // the stack is full: the lease can be closed again
      return false;
    }
    hold.endAll();
    return hold.renewControl();
  }

  /** Gives pages back when recent leases needed much less than what is resident. */
  cool(retain: number): void {
    const enough = Math.max(this.need, retain);
    if (this.hold.dirtyEnd > 2 * enough) this.hold.discard(enough);
  }

  /** Keeps only what an idle allocator retains. */
  chill(retain: number): void {
    if (this.hold.dirtyEnd > retain) this.hold.discard(retain);
    this.need = Math.min(this.need, retain);
  }
}

/**
 * The memory of a pool: who has which region, what stays resident, who waits. It never refers to the `BumpPool`, so that it
 * can be the value that a `FinalizationRegistry` holds for it.
 */
export class Slots {
  readonly #settings: Settings;
  readonly #limit: number;
  /** Last in, first out: the ones at the beginning are used last, and are the first to be cold. */
  readonly #idle: Slot[] = [];
  /** How many idle slots, from the beginning, have given back all but what they retain. */
  #cold = 0;
  readonly #waiting: ((lease: BumpAlloc | null) => void)[] = [];
  /** The slot behind each lease. */
  readonly #leased = new Set<Slot>();
  #peak = 0;
  #leases = 0;
  #lost = 0;
  #moved = 0;
  /** How many leases there are at once: the highest count, slowly forgotten. */
  #demand = 0;
  /** Bytes of each region. */
  #capacity = 0;
  closed = false;

  constructor(settings: Settings, limit: number) {
    this.#settings = settings;
    this.#limit = limit;
  }

  // ---- leases ----------------------------------------------------------------------------------

  /** @throws {PoolFullError} */
  lease(): BumpAlloc {
    if (this.closed) throw new ClosedError("lease", "pool");
    const slot = this.#idle.pop() ?? this.#grow();
    if (this.#idle.length < this.#cold) this.#cold = this.#idle.length;
    const leased = this.#leased.add(slot).size;
    if (leased > this.#peak) this.#peak = leased;
    if (leased > this.#demand) this.#demand = leased;
    this.#leases++;
    const lease = leaseAllocator(slot.hold, slot);
    lostLeases.register(lease, slot, slot);
    return lease;
  }

  #grow(): Slot {
    if (this.#leased.size >= this.#limit) throw this.#full();
    const slot = new Slot(this, this.#settings);
    this.#capacity = slot.hold.capacity;
    return slot;
  }

  #full(): PoolFullError {
    const holds = Array.from(this.#leased, ({ hold }) => hold);
    return new PoolFullError(this.#limit, this.#settings.debug ? listLeases(holds) : "");
  }

  /** Whether `lease` would not throw. */
  get available(): boolean {
    return this.#idle.length > 0 || this.#leased.size < this.#limit;
  }

  /** As `lease`, once one comes back; null if the pool is closed first. An abort ends the wait. */
  wait(signal: AbortSignal | undefined): Promise<BumpAlloc | null> {
    const { promise, resolve, reject } = Promise.withResolvers<BumpAlloc | null>();
    const abort = () => {
      this.#waiting.splice(this.#waiting.indexOf(answer), 1);
      reject(signal!.reason);
    };
    const answer = (lease: BumpAlloc | null) => {
      signal?.removeEventListener("abort", abort);
      resolve(lease);
    };
    signal?.addEventListener("abort", abort, { once: true });
    this.#waiting.push(answer);
    return promise;
  }

  /** If the stack overflows in here, the lease can be closed again. */
  takeBack(slot: Slot): void {
    const serves = !this.closed && this.#recycle(slot);
    if (!serves) slot.hold.release();
    else {
      try {
        slot.cool(this.#settings.retain);
      } catch (error) {
        // The system takes no pages back now: they stay resident, and are offered again at later returns.
        reportStale(error);
      }
    }
    lostLeases.unregister(slot);
    this.#leased.delete(slot);
    // No call: the stack cannot end before the lease knows that it was taken back, and the slot stand here twice.
    if (serves) this.#idle[this.#idle.length] = slot;
  }

  /** Makes a slot ready for the next lease, and counts those that other memory had to be got for. */
  #recycle(slot: Slot): boolean {
    const { address } = slot.hold;
    const serves = slot.recycle();
    if (slot.hold.address !== address) this.#moved++;
    return serves;
  }

  /** What else a return brings. */
  goOn(): void {
    this.#coolIdle();
    this.#wake();
  }

  /** A lease was collected without having been closed: its memory serves again once its views have been collected, too. */
  lose(slot: Slot): void {
    this.#leased.delete(slot);
    this.#lost++;
    slot.hold.abandon(() => this.#recover(slot));
    this.#wake();
  }

  /** An error here would end the program: nobody called. */
  #recover(slot: Slot): void {
    try {
      if (!this.closed && this.#leased.size + this.#idle.length < this.#limit && this.#recycle(slot)) {
        this.#idle.push(slot);
        return;
      }
    } catch { /* the system refuses what is needed to use it again */ }
    slot.hold.release();
  }

  #wake(): void {
    if (this.closed || this.#waiting.length === 0 || !this.available) return;
    let lease: BumpAlloc;
    try {
      lease = this.lease();
    } catch {
      return; // the system refuses a region now: the next lease that comes back wakes somebody
    }
    this.#waiting.shift()!(lease);
  }

  // ---- resident memory -------------------------------------------------------------------------

  /** After a burst: one idle slot that is no longer needed gives back all but what it retains. */
  #coolIdle(): void {
    this.#demand = Math.max(this.#leased.size, this.#demand - this.#demand * FORGET_LEASES);
    const warm = this.#idle.length - this.#cold;
    if (warm <= Math.ceil(this.#demand) - this.#leased.size + 1) return;
    try {
      this.#chill(this.#settings.retain);
    } catch (error) {
      reportStale(error); // as above
    }
  }

  #chill(retain: number): void {
    this.#idle[this.#cold].chill(retain);
    this.#cold++;
  }

  /** Every idle slot keeps `retain` bytes resident at most. */
  trim(retain: number): void {
    this.#cold = 0;
    while (this.#cold < this.#idle.length) this.#chill(retain);
  }

  // ---- statistics ------------------------------------------------------------------------------

  stats(): BumpPoolStats {
    const idle = this.#idle;
    return {
      limit: this.#limit,
      leased: this.#leased.size,
      idle: idle.length,
      waiting: this.#waiting.length,
      pins: this.#leased.values().reduce((sum, { hold }) => sum + hold.pins, 0),
      peak: this.#peak,
      leases: this.#leases,
      lost: this.#lost,
      moved: this.#moved,
      reserved: (this.#leased.size + idle.length) * this.#capacity,
      idleResident: idle.reduce((sum, { hold }) => sum + hold.resident, 0),
    };
  }

  // ---- the end ---------------------------------------------------------------------------------

  /** Releases what is idle now, and what is leased when it comes back. */
  close(): void {
    this.closed = true;
    for (let slot = this.#idle.at(-1); slot !== undefined; slot = this.#idle.at(-1)) {
      slot.hold.release();
      this.#idle.pop();
    }
    for (const resolve of this.#waiting.splice(0)) resolve(null);
  }
}

/** Leases that are collected without having been closed. */
const lostLeases = new FinalizationRegistry<Slot>((slot) => slot.slots.lose(slot));
