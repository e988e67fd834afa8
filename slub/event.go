package slub

// An Event is a stat item of the kernel's SLUB (CONFIG_SLUB_STATS, enum stat_item
// of the 7.x kernels, in its order). String gives the name of its sysfs file.
type Event uint8

// When each is counted is described in docs/design.md; the kernel's rules apply.
const (
	AllocFastpath        Event = iota // objects that came from the CPU's sheaves
	AllocSlowpath                     // allocations that went to the slabs, successful or not
	FreeRCUSheaf                      // objects accepted by an rcu_free sheaf
	FreeRCUSheafFail                  // objects refused by it
	FreeFastpath                      // objects freed into the CPU's sheaves
	FreeSlowpath                      // objects that users freed directly to a slab
	FreeAddPartial                    // full slabs that got room and were listed
	FreeRemovePartial                 // listed slabs that became empty and were given back
	AllocSlab                         // slabs obtained from the arena
	AllocNodeMismatch                 // AllocNode calls for another node than the CPU's or its top object's
	FreeSlab                          // slabs given back because of a free
	OrderFallback                     // slabs of the least order for want of the preferred one
	CmpxchgDoubleFail                 // lost races for a slab's state word
	SheafFlush                        // objects flushed from sheaves to slabs
	SheafRefill                       // objects taken from slabs into sheaves
	SheafAlloc                        // sheaf structures allocated
	SheafFree                         // sheaf structures freed
	BarnGet                           // full sheaves obtained from a barn
	BarnGetFail                       // full sheaves wanted, and none there
	BarnPut                           // full sheaves given to a barn
	BarnPutFail                       // full sheaves that a barn could not take
	SheafPrefillFast                  // prefills served by the CPU's spare
	SheafPrefillSlow                  // prefills that had to look further
	SheafPrefillOversize              // prefills larger than a sheaf
	SheafReturnFast                   // prefilled sheaves that became the CPU's spare
	SheafReturnSlow                   // prefilled sheaves that did not
	NumEvents
)

var eventNames = [NumEvents]string{
	"alloc_fastpath", "alloc_slowpath", "free_rcu_sheaf", "free_rcu_sheaf_fail",
	"free_fastpath", "free_slowpath", "free_add_partial", "free_remove_partial",
	"alloc_slab", "alloc_node_mismatch", "free_slab", "order_fallback",
	"cmpxchg_double_fail", "sheaf_flush", "sheaf_refill", "sheaf_alloc", "sheaf_free",
	"barn_get", "barn_get_fail", "barn_put", "barn_put_fail", "sheaf_prefill_fast",
	"sheaf_prefill_slow", "sheaf_prefill_oversize", "sheaf_return_fast",
	"sheaf_return_slow",
}

// String returns the name of the kernel's stat file, such as "alloc_fastpath".
func (e Event) String() string {
	if e >= NumEvents {
		return "unknown"
	}
	return eventNames[e]
}

// What else a cache counts; not events of the kernel.
const (
	allocFailed  = NumEvents + iota // allocations, single and bulk, that returned an error
	singleFailed                    // those of them that AllocSlowpath counted
	refused                         // frees of pointers that aren't the cache's
	loaned                          // objects taken from prefilled sheaves less those put in
	keptExpired                     // objects that a Free hook kept after a grace period
	numCounters
)
