package slub

import "github.com/slubd/slubd/sheaves"

// An Event is a stat item of the kernel's SLUB, see [sheaves.Event]. Its String is the name of
// the kernel's file, its Help a sentence; docs/reference/counters.md says exactly when each is
// counted.
type Event = sheaves.Event

// The items, in the kernel's order.
const (
	AllocFastpath        = sheaves.AllocFastpath
	AllocSlowpath        = sheaves.AllocSlowpath
	FreeRCUSheaf         = sheaves.FreeRCUSheaf
	FreeRCUSheafFail     = sheaves.FreeRCUSheafFail
	FreeFastpath         = sheaves.FreeFastpath
	FreeSlowpath         = sheaves.FreeSlowpath
	FreeAddPartial       = sheaves.FreeAddPartial
	FreeRemovePartial    = sheaves.FreeRemovePartial
	AllocSlab            = sheaves.AllocSlab
	AllocNodeMismatch    = sheaves.AllocNodeMismatch
	FreeSlab             = sheaves.FreeSlab
	OrderFallback        = sheaves.OrderFallback
	CmpxchgDoubleFail    = sheaves.CmpxchgDoubleFail
	SheafFlush           = sheaves.SheafFlush
	SheafRefill          = sheaves.SheafRefill
	SheafAlloc           = sheaves.SheafAlloc
	SheafFree            = sheaves.SheafFree
	BarnGet              = sheaves.BarnGet
	BarnGetFail          = sheaves.BarnGetFail
	BarnPut              = sheaves.BarnPut
	BarnPutFail          = sheaves.BarnPutFail
	SheafPrefillFast     = sheaves.SheafPrefillFast
	SheafPrefillSlow     = sheaves.SheafPrefillSlow
	SheafPrefillOversize = sheaves.SheafPrefillOversize
	SheafReturnFast      = sheaves.SheafReturnFast
	SheafReturnSlow      = sheaves.SheafReturnSlow
	NumEvents            = sheaves.NumEvents
)

// Further counters of a cache, which are not events of the kernel.
const (
	allocFailed  = NumEvents + iota // allocations, single and bulk, that returned an error
	singleFailed                    // single ones among them, which AllocSlowpath counts, too
	refused                         // frees of pointers that are not the cache's
	loaned                          // objects taken from prefilled sheaves, minus those put back
	kept                            // objects in use though freed: a hook kept it, or a second free
	reclaimed                       // objects of FreeRCU and FreeDeferred that went to their slabs
	numCounters

	// drainedFast counts objects of FreeDeferred that went to the CPU's sheaves, in the cell of an
	// event that is read from the CPUs' stacks otherwise.
	drainedFast = FreeFastpath
)
