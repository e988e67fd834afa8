package loops

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
	"unsafe"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/slub"
)

// This file measures whole heaps: the cost of a collection with millions of live objects (gc,
// gc-linked) or a large map (gc-map), and the bytes that stay resident (resident). A process holds
// one heap, so package runner starts one for each.

// object is what gc and resident keep: workload.HeapSize bytes without pointers.
type object struct {
	value [workload.HeapSize / 8]uint64
}

func (o *object) number() *uint64 { return &o.value[0] }

// node is an object of gc-linked on the Go heap.
type node struct {
	next  *node
	value [workload.HeapSize/8 - 1]uint64
}

// refNode is node on slubd: its link is a number to the collector.
type refNode struct {
	next  slub.Ref[refNode]
	value [workload.HeapSize/8 - 1]uint64
}

// Population keeps objects alive for collections to find.
type Population struct {
	root any           // what keeps the objects alive
	sum  func() uint64 // adds up the numbers in the objects
}

// Build allocates a number of live objects, or keys of a map. Automatic collections are off from
// here on: they would slow the building, and Collect forces its own.
func Build(name string, kind workload.Kind, live int) (*Population, error) {
	debug.SetGCPercent(-1)
	switch {
	case kind == workload.GC && name == workload.Go:
		return slice(live, func() (*object, error) { return new(object), nil }, (*object).number)
	case kind == workload.GC && name == workload.Slubd:
		alloc, err := refs[object]("bench-gc")
		if err != nil {
			return nil, err
		}
		return slice(live, alloc, func(r slub.Ref[object]) *uint64 { return r.Ptr().number() })
	case kind == workload.GCLinked && name == workload.Go:
		return linked(live, func() (*node, error) { return new(node), nil },
			func(n *node) (**node, *uint64) { return &n.next, &n.value[0] })
	case kind == workload.GCLinked && name == workload.Slubd:
		alloc, err := refs[refNode]("bench-gc-linked")
		if err != nil {
			return nil, err
		}
		return linked(live, alloc, func(r slub.Ref[refNode]) (*slub.Ref[refNode], *uint64) {
			return &r.Ptr().next, &r.Ptr().value[0]
		})
	case kind == workload.GCMap:
		return filledMap(name, live)
	}
	return nil, fmt.Errorf("%s has no heap for workload %q", name, kind)
}

// slice keeps live objects in a slice of P, which leads to an object's number by at.
func slice[P any](live int, alloc func() (P, error), at func(P) *uint64) (*Population, error) {
	list := make([]P, live)
	for i := range list {
		p, err := alloc()
		if err != nil {
			return nil, err
		}
		list[i], *at(p) = p, uint64(i)
	}
	return &Population{root: list, sum: func() (sum uint64) {
		for _, p := range list {
			sum += *at(p)
		}
		return sum
	}}, nil
}

// linked keeps live objects in a list, each with a link of type P and its number, which at finds.
func linked[P comparable](live int, alloc func() (P, error), at func(P) (next *P, number *uint64)) (*Population, error) {
	var head, none P
	for i := range live {
		p, err := alloc()
		if err != nil {
			return nil, err
		}
		next, number := at(p)
		head, *next, *number = p, head, uint64(i)
	}
	return &Population{root: head, sum: func() (sum uint64) {
		for p := head; p != none; {
			next, number := at(p)
			sum, p = sum+*number, *next
		}
		return sum
	}}, nil
}

// refs allocates objects of a cache.
func refs[T any](name string) (alloc func() (slub.Ref[T], error), err error) {
	cache, err := slub.NewTyped[T](nil, slub.Config{Name: name})
	return func() (slub.Ref[T], error) {
		p, err := cache.Alloc()
		return cache.Ref(p), err
	}, err
}

// filledMap makes a map whose values are as large as an object.
func filledMap(name string, live int) (*Population, error) {
	t, err := newTable(name)
	if err != nil {
		return nil, err
	}
	v := t.view()
	defer v.close()
	var value [workload.HeapSize]byte
	for i, key := range mapKeys(live) {
		binary.LittleEndian.PutUint64(value[:], uint64(i))
		if err := v.put(key, value[:]); err != nil {
			return nil, err
		}
	}
	return &Population{root: t, sum: func() (sum uint64) {
		v := t.view()
		defer v.close()
		for _, key := range mapKeys(live) {
			word, _ := v.get(key)
			sum += word
		}
		return sum
	}}, nil
}

// errLost reports a population whose objects do not hold what was stored.
var errLost = errors.New("live objects lost their contents")

// Check reads the population back, which has the given number of objects.
func (p *Population) Check(live int) error {
	if sum, want := p.sum(), uint64(live*(live-1)/2); sum != want {
		return fmt.Errorf("%w: the sum of their numbers is %d instead of %d", errLost, sum, want)
	}
	return nil
}

// Collect forces a collection. The value is its wall time in milliseconds; extras are the CPU time
// spent marking and the time for which the world was stopped.
func (p *Population) Collect() workload.Sample {
	mark, stopped := gcTotals()
	paused := readPauses()
	begin := time.Now()
	runtime.GC()
	elapsed := time.Since(begin)
	markAfter, stoppedAfter := gcTotals()
	runtime.KeepAlive(p)
	return workload.Sample{
		Value:   milliseconds(elapsed),
		Elapsed: elapsed,
		Pauses:  pausesBetween(paused, readPauses()),
		Extra: map[string]float64{
			"mark_cpu_ms": (markAfter - mark) * 1e3,
			"pause_ms":    milliseconds(stoppedAfter - stopped),
		},
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// gcTotals returns the CPU seconds spent marking and the time stopped so far.
func gcTotals() (mark float64, stopped time.Duration) {
	samples := []metrics.Sample{
		{Name: "/cpu/classes/gc/mark/assist:cpu-seconds"},
		{Name: "/cpu/classes/gc/mark/dedicated:cpu-seconds"},
		{Name: "/cpu/classes/gc/mark/idle:cpu-seconds"},
	}
	metrics.Read(samples)
	for _, s := range samples {
		mark += s.Value.Float64()
	}
	var stats debug.GCStats
	debug.ReadGCStats(&stats)
	return mark, stats.PauseTotal
}

// Resident allocates live objects, frees them all and asks the kernel for the process's anonymous
// memory on the way. The value is resident bytes per byte of payload at the peak. Extras are the
// fractions of the peak that stay: left_of_peak after freeing and slubd's Shrink or the runtime's
// FreeOSMemory, left_after_purge after the arena's Purge as well.
func Resident(name string, live int) (workload.Sample, error) {
	objects := make([]unsafe.Pointer, live)
	for i := range objects {
		objects[i] = unsafe.Pointer(&objects[0]) // makes the slice itself resident
	}
	h := goResident
	switch name {
	case workload.Go:
	case workload.Slubd:
		cache, err := slub.New(nil, slub.Config{Name: "bench-resident", Size: workload.HeapSize})
		if err != nil {
			return workload.Sample{}, err
		}
		h = slubdResident(cache)
	default:
		return workload.Sample{}, fmt.Errorf("%s has no heap for workload %q", name, workload.Resident)
	}
	var readings [4]uint64 // before, at the peak, after freeing, after the purge
	for i, step := range []func([]unsafe.Pointer) error{nil, h.fill, h.empty, h.purge} {
		var err error
		if step != nil {
			err = step(objects)
		}
		if i != 1 {
			debug.FreeOSMemory() // not the peak: there Go's heap shall show as it is
		}
		if err == nil {
			readings[i], err = sys.ReadRSS()
		}
		if err != nil {
			return workload.Sample{}, err
		}
	}
	runtime.KeepAlive(objects)
	return residentSample(readings, live), nil
}

// residentSample relates readings in bytes to the payload.
func residentSample(readings [4]uint64, live int) workload.Sample {
	above := func(i int) float64 { return max(0, float64(readings[i])-float64(readings[0])) }
	return workload.Sample{
		Value: above(1) / float64(live*workload.HeapSize),
		Extra: map[string]float64{
			"peak_bytes":       above(1),
			"left_of_peak":     above(2) / max(1, above(1)),
			"left_after_purge": above(3) / max(1, above(1)),
		},
	}
}

// residentHeap is what an implementation does with a list of objects of workload.HeapSize: fill
// allocates them, empty frees them and shrinks, purge gives back what empty kept.
type residentHeap struct {
	fill, empty, purge func([]unsafe.Pointer) error
}

var goResident = residentHeap{
	fill: func(list []unsafe.Pointer) error {
		for i := range list {
			o := &object{}
			o.value[0] = uint64(i)
			list[i] = unsafe.Pointer(o)
		}
		return nil
	},
	empty: func(list []unsafe.Pointer) error { clear(list); return nil },
}

func slubdResident(cache *slub.Cache) residentHeap {
	return residentHeap{
		fill: func(list []unsafe.Pointer) error {
			for i := range list {
				p, err := cache.Alloc()
				if err != nil {
					return err
				}
				(*object)(p).value[0] = uint64(i)
				list[i] = p
			}
			return nil
		},
		empty: func(list []unsafe.Pointer) error {
			for _, p := range list {
				cache.Free(p)
			}
			if left := cache.Shrink(); left > 0 {
				return fmt.Errorf("%d slabs are left after freeing all objects", left)
			}
			return nil
		},
		purge: func([]unsafe.Pointer) error { cache.Arena().Purge(0); return nil },
	}
}
