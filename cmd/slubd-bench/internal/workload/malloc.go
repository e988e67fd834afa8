package workload

// The workloads of this file ask an allocator for sizes, as callers of malloc do; slubd serves them
// by slub.Malloc. All but malloc-mix and large are known from mimalloc-bench. They are our own
// code, written from descriptions of what the originals do, and scaled from seconds to
// milliseconds. The thread that frees an object adds up its first word, and the sum over all
// threads shows whether two loops did the same.
const (
	Larson       Kind = "larson"
	MStress      Kind = "mstress"
	RPTest       Kind = "rptest"
	XMalloc      Kind = "xmalloc"
	SH6          Kind = "sh6"
	SH8          Kind = "sh8"
	AllocTest    Kind = "alloc-test"
	CacheScratch Kind = "cache-scratch"
	CacheThrash  Kind = "cache-thrash"
	MallocMix    Kind = "malloc-mix"
	Large        Kind = "large"
)

// Parameters; unless a comment says otherwise, those of the originals. native/bench.h repeats
// the ones that C needs.
const (
	// LarsonLive is how many objects an array of larson holds.
	LarsonLive = 5000
	// LarsonRound is how many objects a thread replaces before it swaps its array: each one once
	// on average. The original's rounds are a hundred times as long, as are its runs.
	LarsonRound = LarsonLive

	// MStressLive is how many objects a thread of mstress keeps from phase to phase.
	MStressLive = 500
	// MStressPhase is how many pairs a thread of mstress makes: half a millisecond, of which
	// starting the next thread takes a tenth.
	MStressPhase = 20_000
	// MStressTransfer is the number of slots through which objects migrate.
	MStressTransfer = 1000
	// One object in MStressEvery does.
	MStressEvery = 8

	// A thread of rptest keeps RPTestLive objects and replaces RPTestStep adjacent ones at a time.
	RPTestLive, RPTestStep = 1000, 100
	// The objects of one step in RPTestCross are freed by another thread.
	RPTestCross = 2

	// XMallocBatch is the number of objects in a batch of xmalloc.
	XMallocBatch = 100

	// SHBatch is how many objects sh6 and sh8 allocate at a time. Half of them live until the
	// next batch is allocated.
	SHBatch = 1000

	// AllocTestLive objects take about two megabytes.
	AllocTestLive = 32_768

	// CacheSize is the object size of cache-scratch and cache-thrash: eight objects to a cache
	// line.
	CacheSize = 8
	// CacheWrites is how often they write into each object. A line that two CPUs write in turn
	// costs more than the rest of the loop.
	CacheWrites = 100

	// MallocMixLive objects take about a megabyte.
	MallocMixLive = 1024
	// One operation of malloc-mix in MallocMixRealloc resizes an object.
	MallocMixRealloc = 8

	// PageSize is how far the words lie apart that large writes.
	PageSize = 4096
)

// byMalloc returns the workloads of this file. sync.Pool cannot run them, since it has one size.
func byMalloc() []Workload {
	list := []Workload{
		{Name: "larson", Kind: Larson, Batch: LarsonRound, About: "5000 live objects of 8 to 1000 bytes, random ones replaced, the array swapped with another thread's"},
		{Name: "mstress", Kind: MStress, Batch: MStressPhase, About: "powers of two, one object in 8 swapped with another thread's, threads live half a millisecond"},
		{Name: "rptest", Kind: RPTest, Batch: RPTestStep, About: "1000 live objects of 8 to 16000 bytes, replaced by 100, half of the steps freed by another thread"},
		{Name: "xmalloc", Kind: XMalloc, Batch: XMallocBatch, About: "half of the threads allocate, half free, 100 objects at a time through one locked list"},
		{Name: "sh6", Kind: SH6, Batch: SHBatch, About: "1000 objects at a time, half freed backwards, half in order after the next thousand"},
		{Name: "sh8", Kind: SH8, Batch: SHBatch, About: "sh6, but another thread frees the second half"},
		{Name: "alloc-test", Kind: AllocTest, About: "32768 live objects of Pareto sizes up to 1024 bytes, random ones replaced"},
		{Name: "cache-scratch", Kind: CacheScratch, About: "each thread frees 8 bytes that another allocated, then writes 100 times into the 8 it gets: passive false sharing"},
		{Name: "cache-thrash", Kind: CacheThrash, About: "each thread writes 100 times into the 8 bytes it gets: active false sharing"},
		{Name: "malloc-mix", Kind: MallocMix, About: "1024 live objects of 8 to 8192 bytes, a random one replaced or, one time in 8, resized"},
		{Name: "large", Kind: Large, About: "allocate 64 KiB, 256 KiB, 1 MiB or 8 MiB, write a word into each page, free it"},
	}
	for i := range list {
		list[i].Names = append([]string{Slubd, Go}, Natives()...)
	}
	return list
}

// ByMalloc reports whether the workload is one of this file, or a trace.
func (k Kind) ByMalloc() bool {
	switch k {
	case Larson, MStress, RPTest, XMalloc, SH6, SH8, AllocTest, CacheScratch, CacheThrash, MallocMix, Large, Trace:
		return true
	}
	return false
}

// LargeSizes returns the object sizes in bytes that large has a row for.
func LargeSizes() []int { return []int{64 << 10, 256 << 10, 1 << 20, 8 << 20} }

// Paired reports whether two threads make one pair: one allocates, one frees.
func (k Kind) Paired() bool { return k == Xfer || k == XMalloc || k == TailCross }

// live is how many objects a thread keeps, or keys a map has.
func (k Kind) live() int {
	return map[Kind]int{
		Churn: ChurnLive, Mix: MixLive, Resident: ResidentLive,
		Larson: LarsonLive, MStress: MStressLive, RPTest: RPTestLive,
		SH6: SHBatch / 2, SH8: SHBatch / 2, AllocTest: AllocTestLive, MallocMix: MallocMixLive,
		RCUMap: RCUMapKeys, PhaseChange: NodesLive, PhaseUntouched: NodesLive, NodeFull: NodesLive, CXL: NodesLive,
		TailSteady: TailLive, TailBursty: TailLive, TailCross: 2 * TailLive, TailPhases: TailLive,
	}[k]
}
