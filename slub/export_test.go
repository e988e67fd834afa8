package slub

import (
	"reflect"
	"unsafe"
)

// What the tests of package slub_test share with those of this package. There it has the same
// names as here: see helpers_external_test.go.
var (
	NewTestArena    = newArena
	OpenCache       = open
	OpenBuckets     = openBuckets
	TakeObjects     = take
	FreeObjects     = freeAll
	FillArena       = fillArena
	Prefill         = prefill
	TakeNoWait      = all
	HoldStacks      = holdStacks
	BalancingHooks  = balancing
	ClassAlign      = classAlign
	NoBytes         = &noBytes
	MallocObject    = malloc
	FillBytes       = fill
	FirstUnlike     = unlike
	FakeNodes       = fakeNodes
	PinnedTo        = pinned
	Stay            = stay
	WantCounts      = counted
	Paint           = paint
	Painted         = painted
	StampIn         = stampIn
	AllZero         = zeroed
	WantError       = same
	SizeBoundaries  = boundaries
	SizeOfEachKind  = kinds
	OpenRecorder    = openRecorder
	SlabOf          = slabOf
	Within          = within
	Canceled        = canceled
	FreeObjectsRCU  = freeRCU
	OpenDtorCounter = openDtorCounter
	RegisterReader  = register
	WithoutMemory   = noMemory
	UsedBytes       = usedBytes
	RunApart        = apart
	CloseElsewhere  = elsewhere
	NeedMerging     = needMerging
	WithoutSamples  = withoutSamples
	FreeAllBy       = freeAllBy
	OneOf           = oneOf
	FirstOf         = first
	StackHolds      = stackHolds
	StartWaiting    = startWaiting
	FreshRegistry   = freshRegistry
	MergeAll        = &mergeAll
	ObjectHex       = hexOf
	IsNothing       = isNothing
	SmashLink       = smashLink
	ReturnObjects   = (*Cache).returnBulk
	NewTestGroup    = newGroup
	RefusedBy       = refusedBy
)

const (
	Sanitized    = sanitized
	Checked      = checked
	WaitingBytes = waitingBytes
	MaxClass     = maxClass
	MaxRun       = maxRun
	MaxPageClass = maxPageClass
	Constructed  = constructed
	MaxListed    = maxListed
	NumClasses   = numClasses
)

// The caches that count the calls of their destructor and keep their reports.
type (
	DtorCounter    = dtorCounter
	ReportRecorder = reportRecorder
)

// UnlistedCounts returns what the checker needs besides Stats: calls of Alloc that failed, objects
// in prefilled sheaves less those returned, objects in the queue of FreeRCU.
func UnlistedCounts(c *Cache) (failed, loanedObjects, queued int64) {
	return c.counter(singleFailed), c.counter(loaned), c.freeQueue.Pending()
}

// WaitingObjects returns the number of free objects that wait in the quarantine of a debug cache.
func WaitingObjects(c *Cache) int64 { return int64(len(c.quarantined().appendFree(nil))) }

// WaitingSlabs returns the number of empty slabs that wait for a grace period.
func WaitingSlabs(c *Cache) int64 { return c.slabs.Retired() }

// MaxWaiting returns the number of sheaves that may wait in a barn before a callback reclaims them.
func MaxWaiting(c *Cache) int { return c.sheaves.MaxWaiting() }

// SheavesLeft returns the number of pools that c's sheaves have, and the number of sheaves that are
// not in them. Both are 0 after a Close that has lost no sheaf. It looks into the pools, since the
// counters of sheaves read 0 then.
func SheavesLeft(c *Cache) (pools, out int64) {
	if c.sheaves == nil {
		return 0, 0
	}
	of := reflect.ValueOf(c.sheaves).Elem().FieldByName("pool").FieldByName("of")
	for each := of.MapRange(); each.Next(); pools++ {
		pool := each.Value().Elem()
		out += pool.FieldByName("made").Int() - pool.FieldByName("free").Int()
	}
	return pools, out
}

// SlotSize returns the bytes from one object to the next, for tests that ask too often for Stats.
func SlotSize(c *Cache) uint64 { return uint64(c.layout.slot) }

// FreePointerOf returns the offset of the free pointer in an object of c.
func FreePointerOf(c *Cache) uintptr { return c.layout.fp }

// FreeToSlab frees an object past the hooks and the sheaves of its cache.
func FreeToSlab(c *Cache, p unsafe.Pointer) { c.slabs.Free(p) }

// LargeInUse returns the number of large objects in use.
func LargeInUse(b *Buckets) int64 { return b.large.inUse.Load() }

// LocalNode returns the index of the node of the CPU that the caller runs on.
func LocalNode(c *Cache) int { return c.localNode() }

// GroupUsed returns the bytes that are charged to a group.
func GroupUsed(g *Group) int64 { return g.used.Load() }

// DeferredPending returns how many objects given to FreeDeferred are not free yet. It makes no
// system call, and neither does SlowAllocs.
func DeferredPending(c *Cache) int64 { return c.deferFree.pending() }

// SlowAllocs returns how many objects came from slabs.
func SlowAllocs(c *Cache) int64 { return c.counter(AllocSlowpath) }

// CacheOf returns the cache of the class that p is of, or nil.
func CacheOf(b *Buckets, p unsafe.Pointer) *Cache { return b.cacheOf(p) }

// SliceOf returns the Slice with the two words of s.
func SliceOf(s Slice) Slice { return Slice{s.addr, s.word} }

// IndexOf returns the index of b that its Slices have.
func IndexOf(b *Buckets) uint32 { return b.index }

// BacklogOf returns Stats().Backlog of c, and doesn't add up the counters of all CPUs for it.
func BacklogOf(c *Cache) BacklogStats { return c.backlog.stats() }

// LargeCounts returns the bytes of large objects plus their number, and how many of them are in
// the queue of FreeRCU.
func LargeCounts(b *Buckets) (n, queued int64) {
	return b.large.bytes.Load() + b.large.inUse.Load(), b.freeQueue.Pending()
}

// BucketsID returns the number that tells Buckets of one name apart.
func BucketsID(b *Buckets) uint32 { return b.id }

// DelaySweep has the sweep of FreeDeferred begin no earlier than sweepPeriod after the next cache
// is made, for tests that look at what waits for it.
func DelaySweep() { sweepTimer.Stop() }

// FireSweep runs the sweep of FreeDeferred, as its timer does.
func FireSweep() { sweepTimer.Fire() }
