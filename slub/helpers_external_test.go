package slub_test

import (
	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/slub"
)

// The helpers that package slub's own tests have as well.
var (
	newArena        = slub.NewTestArena
	open            = slub.OpenCache
	openBuckets     = slub.OpenBuckets
	take            = slub.TakeObjects
	freeAll         = slub.FreeObjects
	fillArena       = slub.FillArena
	prefill         = slub.Prefill
	all             = slub.TakeNoWait
	holdStacks      = slub.HoldStacks
	balancing       = slub.BalancingHooks
	classAlign      = slub.ClassAlign
	withoutBytes    = slub.NoBytes
	maxWaiting      = slub.MaxWaiting
	slotSize        = slub.SlotSize
	malloc          = slub.MallocObject
	fill            = slub.FillBytes
	unlike          = slub.FirstUnlike
	fakeNodes       = slub.FakeNodes
	pinned          = slub.PinnedTo
	stay            = slub.Stay
	counted         = slub.WantCounts
	paint           = slub.Paint
	painted         = slub.Painted
	stampIn         = slub.StampIn
	zeroed          = slub.AllZero
	same            = slub.WantError
	boundaries      = slub.SizeBoundaries
	kinds           = slub.SizeOfEachKind
	openRecorder    = slub.OpenRecorder
	slabOf          = slub.SlabOf
	within          = slub.Within
	canceled        = slub.Canceled
	freeRCU         = slub.FreeObjectsRCU
	openDtorCounter = slub.OpenDtorCounter
	register        = slub.RegisterReader
	noMemory        = slub.WithoutMemory
	usedBytes       = slub.UsedBytes
	apart           = slub.RunApart
	elsewhere       = slub.CloseElsewhere
	needMerging     = slub.NeedMerging
	withoutSamples  = slub.WithoutSamples
	freeAllBy       = slub.FreeAllBy
	oneOf           = slub.OneOf
	first           = slub.FirstOf
	stackHolds      = slub.StackHolds
	startWaiting    = slub.StartWaiting
	freshRegistry   = slub.FreshRegistry
	mergeAll        = slub.MergeAll
	localNode       = slub.LocalNode
	newGroup        = slub.NewTestGroup
	refusedBy       = slub.RefusedBy
	isNothing       = slub.IsNothing
	largeCounts     = slub.LargeCounts
	hexOf           = slub.ObjectHex
	bucketsID       = slub.BucketsID
	delaySweep      = slub.DelaySweep
	fireSweep       = slub.FireSweep
	groupUsed       = slub.GroupUsed
	deferredPending = slub.DeferredPending
	slowAllocs      = slub.SlowAllocs
	cacheOf         = slub.CacheOf
	waitingSlabs    = slub.WaitingSlabs
	sliceOf         = slub.SliceOf
	indexOf         = slub.IndexOf
	freePointerOf   = slub.FreePointerOf
	freeToSlab      = slub.FreeToSlab
	largeInUse      = slub.LargeInUse
)

const (
	sanitized    = slub.Sanitized
	checked      = slub.Checked
	waitingBytes = slub.WaitingBytes
	mib          = 1 << 20
	maxClass     = slub.MaxClass
	maxPageClass = slub.MaxPageClass
	maxRun       = slub.MaxRun
	constructed  = slub.Constructed
	maxListed    = slub.MaxListed
	numClasses   = slub.NumClasses
)

type (
	dtorCounter = slub.DtorCounter
)

// smallArena is the config of an arena for tests that don't care.
var smallArena = arena.Config{}
