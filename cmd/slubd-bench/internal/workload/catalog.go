package workload

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// The allocators, by the names that -alloc and the results use.
const (
	Slubd    = "slubd"
	Go       = "go"
	Pool     = "pool"
	Malloc   = "malloc"
	TCMalloc = "tcmalloc"
	Mimalloc = "mimalloc"
	Jemalloc = "jemalloc"
	SNMalloc = "snmalloc"
	RPMalloc = "rpmalloc"
)

// Other implementations. Local is compared with the allocators where all objects have one size. The
// rest are in the workloads of rcu.go: not allocators, but what C and Go programs would use in
// place of rcu and FreeRCU.
const (
	Local   = "local"   // slub.Local, one for each thread
	URCU    = "urcu"    // liburcu, with malloc and free of tcmalloc
	CK      = "ck"      // ck_epoch of Concurrency Kit, the same
	SyncMap = "syncmap" // sync.Map
	Sharded = "sharded" // 64 maps, each with a sync.RWMutex
)

// Allocators returns the names of the allocators in the order of the table's columns. slubd is the
// first: the others are compared with it.
func Allocators() []string {
	return append([]string{Slubd, Go, Pool}, Natives()...)
}

// Natives returns the names of the C allocators, in the same order.
func Natives() []string {
	return []string{Malloc, TCMalloc, Mimalloc, Jemalloc, SNMalloc, RPMalloc}
}

// Others returns the names of the other implementations, in that order.
func Others() []string { return []string{Local, URCU, CK, SyncMap, Sharded} }

// Implementations returns all names, in the order of the table's columns.
func Implementations() []string { return append(Allocators(), Others()...) }

// AboutImplementation says in a few words what an implementation is, to a reader of figures that
// may know none of them.
func AboutImplementation(name string) string {
	switch name {
	case Slubd:
		return "slubd, a library for Go: objects outside the heap that the garbage collector scans"
	case Local:
		return "slub.Local, of slubd: a cache's objects by a sheaf that each goroutine has for itself"
	case Go:
		return "new, on the heap of Go"
	case Pool:
		return "sync.Pool of the standard library"
	case SyncMap:
		return "sync.Map of the standard library"
	case Sharded:
		return "64 maps, each with a sync.RWMutex"
	case URCU:
		return "liburcu, called from loops in C"
	case CK:
		return "ck_epoch of Concurrency Kit, called from loops in C"
	case Malloc:
		return "the C library's malloc, called from loops in C"
	}
	if OfRelease(name) {
		return "new, on the heap of Go " + strings.TrimPrefix(name, Go)
	}
	return "a malloc for C, called from loops in C"
}

// OfRelease reports whether a name is that of a Go release, go1.27.4 for example. It stands for the
// heap of that release, and has the workloads of Go.
func OfRelease(name string) bool { return strings.HasPrefix(name, Go+"1.") }

// Compare orders names of implementations as the table's columns. Other Go releases come next to
// Go.
func Compare(a, b string) int {
	return cmp.Or(cmp.Compare(column(a), column(b)), strings.Compare(a, b))
}

func column(name string) int {
	if OfRelease(name) {
		name = Go
	}
	return slices.Index(Implementations(), name)
}

// Native reports whether a name is that of a C allocator.
func Native(name string) bool { return slices.Contains(Natives(), name) }

// Kind is the shape of a workload's loop.
type Kind string

const (
	Pair     Kind = "pair"
	Batch    Kind = "batch"
	Churn    Kind = "churn"
	Mix      Kind = "mix"
	Xfer     Kind = "xfer"
	Bulk     Kind = "bulk"
	Prefill  Kind = "prefill"
	Buckets  Kind = "buckets"
	Account  Kind = "account"
	RCU      Kind = "rcu"
	GC       Kind = "gc"
	GCLinked Kind = "gc-linked"
	GCMap    Kind = "gc-map"
	Resident Kind = "resident"
	Reclaim  Kind = "reclaim"
)

// Units of the results.
const (
	PerOp         = "ns/op"         // nanoseconds per alloc+free pair, per thread
	PerCollection = "ms/collection" // milliseconds of a forced collection
	PerByte       = "B/B"           // resident bytes per byte of payload
	PerPeriod     = "ns/gp"         // nanoseconds that one grace period takes
)

const (
	// ChurnLive is how many objects each thread of churn keeps: more than any allocator's cache
	// of a thread or CPU holds, so that slabs matter.
	ChurnLive = 100_000
	// MixLive is how many objects each thread of mix keeps: about 300 KiB, which stay in L2.
	MixLive = 1024
	// XferBatch is how many pointers go through xfer's queue at a time.
	XferBatch = 64
	// BulkBatch is how many objects one AllocBulk or FreeBulk handles.
	BulkBatch = 32
	// HeapSize is the object size of gc, gc-linked and resident in bytes.
	HeapSize = 64
	// ResidentLive is how many objects resident has at its peak.
	ResidentLive = 1_000_000
)

// Workload is one entry of the catalogue.
type Workload struct {
	Name    string
	Kind    Kind
	Unit    string
	About   string
	Default bool  // part of the suite that runs without -run
	Batch   int   // objects per batch; 0 where there are none
	Order   Order // order of freeing a batch
	Gets    int   // percentage of lookups among a map's operations
	// Collector says that Go's collector runs beside the loop.
	Collector bool
	Disturb   string   // what another goroutine does beside the loop
	Trace     string   // file that a workload of trace.go replays
	Names     []string // implementations that can run it; nil: all allocators
}

// defaults are the names of the default suite: each kind of use once, where slubd wins and where it
// loses, in at most half a minute.
var defaults = []string{
	"pair", "batch-100-fifo", "churn", "mix", "xfer", "bulk", "rcu", "larson",
	"rcu-read", "rcu-enter", "freercu-flood", "gc", "resident",
}

// Catalog returns every workload in the order in which they run.
func Catalog() []Workload {
	list := []Workload{{Name: "pair", Kind: Pair, About: "allocate one object, free it"}}
	for _, n := range []int{100, 1000} {
		for _, order := range []Order{FIFO, LIFO, Shuffled} {
			list = append(list, batch(n, order))
		}
	}
	list = append(list,
		Workload{Name: "churn", Kind: Churn, About: "100000 live objects, a random one replaced"},
		Workload{Name: "mix", Kind: Mix, About: "1024 live objects of 16 to 1024 bytes, a random one replaced by a random size"},
		Workload{Name: "xfer", Kind: Xfer, Batch: XferBatch, About: "one thread allocates, another frees, 64 pointers at a time through a bounded queue"},
		Workload{Name: "bulk", Kind: Bulk, Batch: BulkBatch, About: "AllocBulk and FreeBulk of 32; the others loop 32 times"},
		Workload{Name: "prefill", Kind: Prefill, About: "pairs from a prefilled sheaf; the others as in pair"},
		Workload{Name: "buckets", Kind: Buckets, Names: []string{Slubd}, About: "pairs of Malloc and Free, to compare account with; for the others that is pair"},
		Workload{Name: "account", Kind: Account, Names: []string{Slubd}, About: "the same by an Account of each thread; malloc charges nothing"},
		Workload{Name: "rcu", Kind: RCU, Names: []string{Slubd}, About: "Alloc and FreeRCU, with readers, so that grace periods pass"},
		Workload{Name: "reclaim", Kind: Reclaim, Names: []string{Slubd}, About: "two caches in an arena of one slab: each Alloc takes back what the other cache keeps; malloc keeps to no limit"},
	)
	list = append(list, byMalloc()...)
	list = append(list, byRCU()...)
	list = append(list, byNodes()...)
	list = append(list, byTail()...)
	list = append(list,
		Workload{Name: "gc", Kind: GC, Unit: PerCollection, Names: []string{Slubd, Go}, About: "forced collection with millions of live pointer-free objects held by a slice"},
		Workload{Name: "gc-linked", Kind: GCLinked, Unit: PerCollection, Names: []string{Slubd, Go}, About: "forced collection with the same objects linked to a list"},
		Workload{Name: "gc-map", Kind: GCMap, Unit: PerCollection, Names: []string{Slubd, SyncMap, Sharded}, About: "forced collection with a map of a tenth as many keys and values"},
		Workload{Name: "resident", Kind: Resident, Unit: PerByte, Names: []string{Slubd, Go}, About: "resident bytes per byte of payload, a million live objects"},
	)
	for i := range list {
		if list[i].Unit == "" {
			list[i].Unit = PerOp
		}
		list[i].Default = slices.Contains(defaults, list[i].Name)
	}
	return list
}

func batch(n int, order Order) Workload {
	return Workload{Name: fmt.Sprintf("batch-%d-%s", n, order), Kind: Batch, Batch: n, Order: order,
		About: "allocate a batch, free it " + order.about()}
}

// KindOf returns the kind of the workload with that name, "" for none.
func KindOf(name string) Kind {
	for _, w := range Catalog() {
		if w.Name == name {
			return w.Kind
		}
	}
	if strings.HasPrefix(name, tracePrefix) {
		return Trace
	}
	return ""
}

// Has reports whether an implementation can run the workload.
func (w Workload) Has(name string) bool {
	if OfRelease(name) {
		name = Go
	}
	if name == Local {
		return w.Kind.oneSize() && !w.Collector && w.Disturb == ""
	}
	if w.Names == nil {
		return !slices.Contains(Others(), name)
	}
	return slices.Contains(w.Names, name)
}

// InSummary reports whether the workload's rows count for the geometric means: those that slubd and
// malloc run alike, from pair to malloc-mix. Whole heaps, nodes, RCU, tails and large objects are
// compared apart, and so are traces, which are of one program.
func (k Kind) InSummary() bool {
	switch k {
	case Pair, Batch, Churn, Mix, Xfer:
		return true
	case Large, Trace:
		return false
	}
	return k.ByMalloc()
}

// oneSize reports whether the loop allocates objects of one size one by one, all from one cache.
func (k Kind) oneSize() bool {
	switch k {
	case Pair, Batch, Churn, Xfer, TailSteady, TailBursty, TailCross, TailPhases:
		return true
	}
	return false
}

// Scales reports whether any number of threads can run the workload, so that it has a scaling
// curve.
func (k Kind) Scales() bool { return !k.WholeHeap() && !k.ByPeriod() && !k.OnNodes() && !k.ByTail() }

// WholeHeap reports whether a whole heap is measured: one thread, objects of HeapSize, a process
// of its own.
func (k Kind) WholeHeap() bool { return k == GC || k == GCLinked || k == GCMap || k == Resident }
