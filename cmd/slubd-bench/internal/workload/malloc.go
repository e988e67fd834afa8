package workload

// The workloads of this file ask an allocator for sizes, as malloc's callers do:
// slubd serves them by slub.Malloc. All but malloc-mix are known from mimalloc-bench
// and written anew from the descriptions of what they do, scaled from seconds to runs of
// milliseconds. Whoever frees an object reads its first word and adds it up, so that the
// sum over all threads tells whether two loops did the same.
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
)

// Parameters, the originals' where nothing is said. native's bench.h repeats those that
// have a C name there.
const (
	// LarsonLive is how many objects an array of larson holds.
	LarsonLive = 5000
	// LarsonRound is how many a thread replaces before the array changes hands: each
	// one once on average. The original's rounds are a hundred times as long, and so
	// are its runs.
	LarsonRound = LarsonLive

	// MStressLive is how many objects a thread of mstress keeps from phase to phase.
	MStressLive = 500
	// MStressPhase is the life of a thread of mstress in pairs: half a millisecond, of
	// which making the next thread takes a tenth.
	MStressPhase = 20_000
	// MStressTransfer is the number of slots through which objects migrate.
	MStressTransfer = 1000
	// MStressEvery is which fraction of the objects does.
	MStressEvery = 8

	// RPTestLive and RPTestStep: a thread keeps a thousand objects and replaces a
	// hundred neighbours at a time.
	RPTestLive, RPTestStep = 1000, 100
	// RPTestCross is the rate of steps whose objects another thread frees.
	RPTestCross = 2

	// XMallocBatch is how many objects lie in one parcel of xmalloc.
	XMallocBatch = 100

	// SHBatch is how many objects sh6 and sh8 allocate at a time. Half of them live
	// until the batch after it.
	SHBatch = 1000

	// AllocTestLive objects take about two megabytes.
	AllocTestLive = 32_768

	// CacheSize is the object size of cache-scratch and cache-thrash: eight objects fit
	// into a cache line.
	CacheSize = 8
	// CacheWrites is how often they write into each object. One line that two CPUs
	// write by turns costs more than the rest of the loop.
	CacheWrites = 100

	// MallocMixLive objects take about a megabyte.
	MallocMixLive = 1024
	// MallocMixRealloc is which fraction of malloc-mix's operations resizes.
	MallocMixRealloc = 8
)

// byMalloc lists the workloads with who takes part: sync.Pool can't, for it has one size.
func byMalloc() []Workload {
	list := []Workload{
		{Name: "larson", Kind: Larson, Batch: LarsonRound, About: "5000 live objects of 8 to 1000 bytes, random ones replaced, the array handed to another thread"},
		{Name: "mstress", Kind: MStress, Batch: MStressPhase, About: "powers of two, one object in 8 swapped with those of other threads, which are short-lived"},
		{Name: "rptest", Kind: RPTest, Batch: RPTestStep, About: "1000 live objects of 8 to 16000 bytes, replaced by 100, half of the steps freed by another thread"},
		{Name: "xmalloc", Kind: XMalloc, Batch: XMallocBatch, About: "half of the threads allocate, half free, 100 objects at a time through one locked list"},
		{Name: "sh6", Kind: SH6, Batch: SHBatch, About: "1000 objects at a time, half freed backwards, half in order after the next thousand"},
		{Name: "sh8", Kind: SH8, Batch: SHBatch, About: "the same, the second half freed by another thread"},
		{Name: "alloc-test", Kind: AllocTest, About: "32768 live objects of Pareto sizes up to 1024 bytes, random ones replaced"},
		{Name: "cache-scratch", Kind: CacheScratch, About: "each thread frees 8 bytes that it was given and writes 100 times into the 8 it gets: passive false sharing"},
		{Name: "cache-thrash", Kind: CacheThrash, About: "each thread writes 100 times into the 8 bytes it gets: active false sharing"},
		{Name: "malloc-mix", Kind: MallocMix, About: "1024 live objects of 8 to 8192 bytes, a random one replaced or, one time in 8, resized"},
	}
	for i := range list {
		list[i].Allocs = []string{Slubd, Go, Malloc, TCMalloc, Mimalloc, Jemalloc}
	}
	return list
}

// ByMalloc reports whether the workload is one of this file.
func (k Kind) ByMalloc() bool {
	switch k {
	case Larson, MStress, RPTest, XMalloc, SH6, SH8, AllocTest, CacheScratch, CacheThrash, MallocMix:
		return true
	}
	return false
}

// Paired reports whether two threads make one pair: one allocates, one frees.
func (k Kind) Paired() bool { return k == Xfer || k == XMalloc }

// live is how many objects a thread keeps.
func (k Kind) live() int {
	return map[Kind]int{
		Churn: ChurnLive, Mix: MixLive, Resident: ResidentLive,
		Larson: LarsonLive, MStress: MStressLive, RPTest: RPTestLive,
		SH6: SHBatch / 2, SH8: SHBatch / 2, AllocTest: AllocTestLive, MallocMix: MallocMixLive,
		RCUMap: RCUMapKeys,
	}[k]
}
