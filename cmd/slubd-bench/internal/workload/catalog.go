package workload

import (
	"fmt"
	"slices"
)

// The allocators, by the names that -alloc and the result rows use.
const (
	Slubd    = "slubd"
	Go       = "go"
	Pool     = "pool"
	Malloc   = "malloc"
	TCMalloc = "tcmalloc"
	Mimalloc = "mimalloc"
	Jemalloc = "jemalloc"
)

// Who else is compared with slubd, in the workloads of rcu.go: they aren't allocators but
// what C and Go programs would use in the place of rcu and FreeRCU.
const (
	URCU    = "urcu"    // liburcu, with malloc and free of tcmalloc
	CK      = "ck"      // ck_epoch of Concurrency Kit, the same
	SyncMap = "syncmap" // sync.Map
	Sharded = "sharded" // 64 maps, each with a sync.RWMutex
)

// Allocators returns the names of allocators in the order of the table's columns; slubd,
// which the others are compared with, comes first.
func Allocators() []string {
	return []string{Slubd, Go, Pool, Malloc, TCMalloc, Mimalloc, Jemalloc}
}

// Entrants returns all names, in the order of the table's columns.
func Entrants() []string { return append(Allocators(), Rivals()...) }

// Rivals returns the names that aren't allocators', in that order.
func Rivals() []string { return []string{URCU, CK, SyncMap, Sharded} }

// Native reports whether an allocator is a C library's.
func Native(alloc string) bool { return slices.Contains(Allocators()[3:], alloc) }

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
	RCU      Kind = "rcu"
	GC       Kind = "gc"
	GCLinked Kind = "gc-linked"
	GCMap    Kind = "gc-map"
	Resident Kind = "resident"
)

// Units of the results.
const (
	PerOp         = "ns/op"         // nanoseconds per alloc+free pair, per thread
	PerCollection = "ms/collection" // milliseconds of a forced collection
	PerByte       = "B/B"           // resident bytes per byte of payload
	PerPeriod     = "ns/gp"         // nanoseconds that one grace period takes
)

const (
	// ChurnLive is how many objects each churn thread keeps: more than any
	// allocator's per-thread or per-CPU cache holds, so that slabs matter.
	ChurnLive = 100_000
	// MixLive is the window of mix: about 300 KiB, which stays in L2.
	MixLive = 1024
	// XferBatch is how many pointers travel through the queue at once.
	XferBatch = 64
	// BulkBatch is how many objects one AllocBulk or FreeBulk moves.
	BulkBatch = 32
	// HeapSize is the object size of gc, gc-linked and resident in bytes.
	HeapSize = 64
	// ResidentLive is how many objects resident holds at its peak.
	ResidentLive = 1_000_000
)

// MixSizes are the object sizes of mix in bytes.
func MixSizes() []uint32 {
	return []uint32{16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024}
}

// Workload is one entry of the catalogue.
type Workload struct {
	Name   string
	Kind   Kind
	Unit   string
	About  string
	Batch  int      // objects per batch; 0 where there are none
	Order  Order    // in which a batch is freed
	Gets   int      // percentage of lookups among a map's operations
	Allocs []string // who can take part; nil is all allocators
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
		Workload{Name: "rcu", Kind: RCU, Allocs: []string{Slubd}, About: "Alloc and FreeRCU, two readers reporting, grace periods passing"},
	)
	list = append(list, byMalloc()...)
	list = append(list, byRCU()...)
	list = append(list,
		Workload{Name: "gc", Kind: GC, Unit: PerCollection, Allocs: []string{Slubd, Go}, About: "forced collection with millions of live pointer-free objects held by a slice"},
		Workload{Name: "gc-linked", Kind: GCLinked, Unit: PerCollection, Allocs: []string{Slubd, Go}, About: "the same, objects linked to a list"},
		Workload{Name: "gc-map", Kind: GCMap, Unit: PerCollection, Allocs: []string{Slubd, SyncMap, Sharded}, About: "the same with a map of a tenth as many keys and values"},
		Workload{Name: "resident", Kind: Resident, Unit: PerByte, Allocs: []string{Slubd, Go}, About: "resident bytes per byte of payload, a million live objects"},
	)
	for i := range list {
		if list[i].Unit == "" {
			list[i].Unit = PerOp
		}
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
	return ""
}

// Has reports whether the allocator can take part.
func (w Workload) Has(alloc string) bool {
	if w.Allocs == nil {
		return !slices.Contains(Rivals(), alloc)
	}
	return slices.Contains(w.Allocs, alloc)
}

// Extension reports whether slubd is used there in a way that malloc has nothing like, so
// that the others run another workload's loop.
func (k Kind) Extension() bool { return k == Bulk || k == Prefill }

// WholeHeap reports whether the workload measures a heap as such: one thread,
// objects of HeapSize, a process of its own.
func (w Workload) WholeHeap() bool {
	return w.Kind == GC || w.Kind == GCLinked || w.Kind == GCMap || w.Kind == Resident
}
