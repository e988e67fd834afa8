package sheaves

// An Event is a stat item of the kernel's SLUB (CONFIG_SLUB_STATS, enum stat_item of the 7.x
// kernels, in its order). A Set counts those that concern sheaves; package slub adds those that
// concern slabs, so that one enum serves both.
type Event uint8

// The items. docs/reference/counters.md says exactly when each is counted, and Help says it in a
// line.
const (
	AllocFastpath Event = iota
	AllocSlowpath
	FreeRCUSheaf
	FreeRCUSheafFail
	FreeFastpath
	FreeSlowpath
	FreeAddPartial
	FreeRemovePartial
	AllocSlab
	AllocNodeMismatch
	FreeSlab
	OrderFallback
	CmpxchgDoubleFail
	SheafFlush
	SheafRefill
	SheafAlloc
	SheafFree
	BarnGet
	BarnGetFail
	BarnPut
	BarnPutFail
	SheafPrefillFast
	SheafPrefillSlow
	SheafPrefillOversize
	SheafReturnFast
	SheafReturnSlow
	NumEvents
)

// String returns the name of the kernel's stat file, such as "alloc_fastpath".
func (e Event) String() string {
	if e >= NumEvents {
		return "unknown"
	}
	return eventTable[e].name
}

// Help returns a sentence that says what the event counts.
func (e Event) Help() string {
	if e >= NumEvents {
		return ""
	}
	return eventTable[e].help
}

// eventTable describes every counter once. String, the help texts of /metrics and
// docs/reference/counters.md are made from it.
var eventTable = [NumEvents]struct {
	name string // of the kernel's file in /sys/kernel/slab/<cache>/
	help string // one sentence
	when string // exactly when it is counted, in Markdown
}{
	AllocFastpath: {
		name: "alloc_fastpath",
		help: "Objects allocated from a CPU's main sheaf, one by one or in bulk.",
		when: "An object is popped from the CPU's main sheaf, by the sequence or after a slow path has put a sheaf with " +
			"objects there. A bulk counts its objects. Read from the stack's header word. Package slub adds what a `Local` " +
			"allocates from its array.",
	},
	AllocSlowpath: {
		name: "alloc_slowpath",
		help: "Allocations that went to the slabs, successful or not, and objects taken from slabs in bulk.",
		when: "`Alloc`, `AllocNode` or `AllocNoWait` goes to the slabs, whether it succeeds or not. A bulk counts the objects " +
			"that came from slabs, if it got all it wanted.",
	},
	FreeRCUSheaf: {
		name: "free_rcu_sheaf",
		help: "Objects that a CPU's rcu_free sheaf accepted.",
		when: "`FreeRCU` puts an object into the CPU's rcu_free sheaf. Read from the stack's header word.",
	},
	FreeRCUSheafFail: {
		name: "free_rcu_sheaf_fail",
		help: "Objects that FreeRCU found no rcu_free sheaf for.",
		when: "`FreeRCU` gets no rcu_free sheaf for an object: its stack is locked, there is no memory, the goroutine has moved " +
			"to another node, the cache is closing, or it has `NoSheaves` and the object is of the CPU's node. The kernel " +
			"counts objects of the CPU's node only, since it has no sheaves for others.",
	},
	FreeFastpath: {
		name: "free_fastpath",
		help: "Objects freed into a CPU's main sheaf, one by one or in bulk.",
		when: "An object is pushed on the CPU's main sheaf, or on its sheaf for the object's node, by the sequence or after a " +
			"slow path has put a sheaf with room there. A bulk counts its objects. Read from the stack's header word. Package " +
			"slub adds what a `Local` keeps in its array.",
	},
	FreeSlowpath: {
		name: "free_slowpath",
		help: "Objects that a user's free put directly into a slab.",
		when: "An object goes from a user directly to its slab: the sheaf refused it, it is the rest " +
			"of a bulk, it went another way than a sheaf through its grace period after `FreeRCU`, or a bulk allocation " +
			"that failed gives it back.",
	},
	FreeAddPartial: {
		name: "free_add_partial",
		help: "Full slabs that got a free object and were listed as partial.",
		when: "A free or a flush gives a free object to a slab that has none, and lists the slab.",
	},
	FreeRemovePartial: {
		name: "free_remove_partial",
		help: "Listed slabs that became empty and were taken off the list to be given back.",
		when: "A free or a flush makes a listed slab empty, and the node has enough partial ones without it.",
	},
	AllocSlab: {
		name: "alloc_slab",
		help: "Slabs made from new pages, and retired ones that are used again.",
		when: "A slab is made from a new page run, or a retired one is used again (`TypesafeByRCU`).",
	},
	AllocNodeMismatch: {
		name: "alloc_node_mismatch",
		help: "AllocNode calls for another node than the CPU's, or than that of the object the CPU would have given.",
		when: "`AllocNode` wants another node than the calling CPU's, and the CPU's sheaf for that node has no object; or the " +
			"object on top of the CPU's main sheaf lies on another node. Not counted when the main sheaf has no object, or the " +
			"stack is locked.",
	},
	FreeSlab: {
		name: "free_slab",
		help: "Slabs given back to the arena because of a free.",
		when: "A free or a flush gives a slab back, or retires it. Not counted for `Shrink`, `Close`, or a refill that finds too many empty " +
			"slabs.",
	},
	OrderFallback: {
		name: "order_fallback",
		help: "Slabs made at the smallest order because the preferred one failed.",
		when: "A slab is made at the least order that holds an object, since the arena had no run of the preferred order.",
	},
	CmpxchgDoubleFail: {
		name: "cmpxchg_double_fail",
		help: "Lost races for a slab's state word, each retry.",
		when: "A compare-and-swap of a slab's state word fails; each try.",
	},
	SheafFlush: {
		name: "sheaf_flush",
		help: "Objects moved from sheaves to slabs.",
		when: "Objects go from a sheaf to their slabs.",
	},
	SheafRefill: {
		name: "sheaf_refill",
		help: "Objects moved from slabs to sheaves.",
		when: "Objects go from slabs into a sheaf.",
	},
	SheafAlloc: {
		name: "sheaf_alloc",
		help: "Sheaf structures allocated.",
		when: "A sheaf structure is taken from the set's pool, or mapped for an oversize prefill.",
	},
	SheafFree: {
		name: "sheaf_free",
		help: "Sheaf structures freed.",
		when: "A sheaf structure goes back to the set's pool; an oversize one is unmapped.",
	},
	BarnGet: {
		name: "barn_get",
		help: "Full sheaves obtained from a barn.",
		when: "A full sheaf is obtained from a barn. A sheaf that a CPU takes right after its grace period counts as put and " +
			"got.",
	},
	BarnGetFail: {
		name: "barn_get_fail",
		help: "Times a full sheaf was wanted and the barn gave none.",
		when: "A full sheaf is wanted, and the barn has none or its mutex is busy.",
	},
	BarnPut: {
		name: "barn_put",
		help: "Sheaves with objects put into a barn.",
		when: "A sheaf with objects goes to a barn, whatever the path.",
	},
	BarnPutFail: {
		name: "barn_put_fail",
		help: "Full sheaves that a barn could not take.",
		when: "A barn can't take a full sheaf: it has as many as it keeps, or it has no empty sheaf to trade and none can be " +
			"made. The objects are flushed, or stay where they are.",
	},
	SheafPrefillFast: {
		name: "sheaf_prefill_fast",
		help: "Prefills served by the CPU's spare sheaf.",
		when: "`Prefill` takes the CPU's spare.",
	},
	SheafPrefillSlow: {
		name: "sheaf_prefill_slow",
		help: "Prefills that looked beyond the CPU's spare sheaf.",
		when: "`Prefill` finds no spare and looks in the barn, or makes a sheaf.",
	},
	SheafPrefillOversize: {
		name: "sheaf_prefill_oversize",
		help: "Prefills for more objects than a sheaf's capacity.",
		when: "`Prefill` is asked for more objects than a sheaf holds.",
	},
	SheafReturnFast: {
		name: "sheaf_return_fast",
		help: "Prefilled sheaves that became the CPU's spare when they were returned.",
		when: "`Return` makes a prefilled sheaf the CPU's spare. The CPU is on the node that the sheaf was prefilled on.",
	},
	SheafReturnSlow: {
		name: "sheaf_return_slow",
		help: "Prefilled sheaves that went to a barn, or were flushed, when they were returned.",
		when: "`Return` fills a prefilled sheaf up and puts it into the barn, or flushes it. An oversize one is not counted.",
	},
}
