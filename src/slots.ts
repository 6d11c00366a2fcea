import { type BumpAlloc, type Home, leaseAllocator } from "./bump_alloc.ts";
import { listLeases, reportStale } from "./debug.ts";
import { ClosedError, PoolFullError } from "./errors.ts";
import { Hold, type Settings } from "./hold.ts";
import type { BumpPoolStats } from "./pool.ts";

/** Part by which a pool's demand decays at each return after a burst. */
const FORGET_LEASES = 1 / 64;

/** Part by which a slot's need decays at each return. */
const FORGET_BYTES = 1 / 8;

/** A region that serves one lease after another. */
class Slot implements Home {
  readonly slots: Slots;
  readonly hold: Hold;
  /** Bytes that recent leases used: the highest, which decays slowly. */
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

  /** Prepares the memory for the next lease. Returns false when the system refuses what that takes. */
  recycle(): boolean {
    const { hold } = this;
    this.need = Math.max(hold.chunks.peak, this.need - Math.ceil(this.need * FORGET_BYTES));
    try {
      hold.prepareEnd();
    } catch (error) {
      if (error instanceof RangeError) throw error; // stack overflow: the lease can be closed again
      return false;
    }
    hold.endAll();
    return hold.renewControl();
  }

  /** Gives pages back when recent leases needed much less than is resident. */
  cool(retain: number): void {
    const enough = Math.max(this.need, retain);
    if (this.hold.dirtyEnd > 2 * enough) this.hold.discard(enough);
  }

  /** Gives back all pages but those that an idle allocator retains. */
  chill(retain: number): void {
    if (this.hold.dirtyEnd > retain) this.hold.discard(retain);
    this.need = Math.min(this.need, retain);
  }
}

/**
 * The regions of a pool: which are leased, which are idle and resident, and the queue of waiting callers. It never
 * refers to its `BumpPool`, so that a `FinalizationRegistry` can hold it as the value for that pool.
 */
export class Slots {
  readonly #settings: Settings;
  readonly #limit: number;
  /** A stack: slots at the beginning are reused last, and cooled first. */
  readonly #idle: Slot[] = [];
  /** Number of idle slots, from the beginning, that keep only their `retain` bytes. */
  #cold = 0;
  readonly #waiting: ((lease: BumpAlloc | null) => void)[] = [];
  /** Slots that are leased now. */
  readonly #leased = new Set<Slot>();
  #peak = 0;
  #leases = 0;
  #lost = 0;
  #moved = 0;
  /** Number of leases needed at once: the highest count, which decays slowly. */
  #demand = 0;
  /** Size of each region in bytes. */
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

  /** Waits for a lease to come back; null if the pool is closed first. An abort ends the wait. */
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

  /** Takes a lease's memory back. After a stack overflow in here the lease can be closed again. */
  takeBack(slot: Slot): void {
    const serves = !this.closed && this.#recycle(slot);
    if (!serves) slot.hold.release();
    else {
      try {
        slot.cool(this.#settings.retain);
      } catch (error) {
        // The system refuses to take the pages: they stay resident, and later returns try again.
        reportStale(error);
      }
    }
    lostLeases.unregister(slot);
    this.#leased.delete(slot);
    // Not `push`: a call could overflow the stack before the lease is marked as returned, and a second close would add
    // the slot twice.
    if (serves) this.#idle[this.#idle.length] = slot;
  }

  /** Prepares a slot for the next lease, and counts the slots whose region had to move. */
  #recycle(slot: Slot): boolean {
    const { address } = slot.hold;
    const serves = slot.recycle();
    if (slot.hold.address !== address) this.#moved++;
    return serves;
  }

  /** Finishes a return: cools an idle slot, and serves a waiting caller. */
  goOn(): void {
    this.#coolIdle();
    this.#wake();
  }

  /**
   * Handles a lease that was collected without being closed: its memory is reused once all its views have been
   * collected too.
   */
  lose(slot: Slot): void {
    this.#leased.delete(slot);
    this.#lost++;
    slot.hold.abandon(() => this.#recover(slot));
    this.#wake();
  }

  /**
   * Reuses the memory of a lost lease. It must not throw: it runs without a caller, so an error would end the program.
   */
  #recover(slot: Slot): void {
    try {
      if (!this.closed && this.#leased.size + this.#idle.length < this.#limit && this.#recycle(slot)) {
        this.#idle.push(slot);
        return;
      }
    } catch { /* the system refuses what reuse takes */ }
    slot.hold.release();
  }

  #wake(): void {
    if (this.closed || this.#waiting.length === 0 || !this.available) return;
    let lease: BumpAlloc;
    try {
      lease = this.lease();
    } catch {
      return; // the system refuses a new region now; the next lease that comes back serves the caller
    }
    this.#waiting.shift()!(lease);
  }

  // ---- resident memory -------------------------------------------------------------------------

  /** After a burst: lets one idle slot that is no longer needed shrink to its `retain` bytes. */
  #coolIdle(): void {
    this.#demand = Math.max(this.#leased.size, this.#demand - this.#demand * FORGET_LEASES);
    const warm = this.#idle.length - this.#cold;
    if (warm <= Math.ceil(this.#demand) - this.#leased.size + 1) return;
    try {
      this.#chill(this.#settings.retain);
    } catch (error) {
      reportStale(error); // a refusal is ignored, as in takeBack
    }
  }

  #chill(retain: number): void {
    this.#idle[this.#cold].chill(retain);
    this.#cold++;
  }

  /** Lets every idle slot keep at most `retain` bytes resident. */
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

  /** Releases idle slots now, and leased ones when they come back. */
  close(): void {
    this.closed = true;
    for (let slot = this.#idle.at(-1); slot !== undefined; slot = this.#idle.at(-1)) {
      slot.hold.release();
      this.#idle.pop();
    }
    for (const resolve of this.#waiting.splice(0)) resolve(null);
  }
}

/** Handles leases that are collected without being closed. */
const lostLeases = new FinalizationRegistry<Slot>((slot) => slot.slots.lose(slot));
