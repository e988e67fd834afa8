package heap

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"unsafe"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/slub"
)

// Resident allocates live objects, frees them all and asks the kernel for the
// process's anonymous memory on the way. The value is resident bytes per byte of
// payload at the peak. Extras are the fractions of the peak that stay:
// left_of_peak after freeing and slubd's Shrink or the runtime's FreeOSMemory,
// left_after_purge after the arena's Purge as well.
func Resident(alloc string, live int) (workload.Sample, error) {
	pointers := make([]unsafe.Pointer, live)
	for i := range pointers {
		pointers[i] = unsafe.Pointer(&pointers[0]) // makes the slice itself resident
	}
	o, err := ownerOf(alloc)
	if err != nil {
		return workload.Sample{}, err
	}
	base, err := anonymous()
	if err != nil {
		return workload.Sample{}, err
	}
	if err := o.fill(pointers); err != nil {
		return workload.Sample{}, err
	}
	peak, err := sys.ReadRSS()
	if err != nil {
		return workload.Sample{}, err
	}
	if err := o.empty(pointers); err != nil {
		return workload.Sample{}, err
	}
	left, err := anonymous()
	if err != nil {
		return workload.Sample{}, err
	}
	o.purge()
	purged, err := anonymous()
	runtime.KeepAlive(pointers)
	return residentSample(base, peak, left, purged, live), err
}

// residentSample relates the readings, in bytes, to the payload.
func residentSample(base, peak, left, purged uint64, live int) workload.Sample {
	above := func(x uint64) float64 { return max(0, float64(x)-float64(base)) }
	return workload.Sample{
		Value: above(peak) / float64(live*workload.HeapSize),
		Extra: map[string]float64{
			"peak_bytes":       above(peak),
			"left_of_peak":     above(left) / max(1, above(peak)),
			"left_after_purge": above(purged) / max(1, above(peak)),
		},
	}
}

// anonymous is RssAnon without what the Go runtime merely has not returned.
func anonymous() (uint64, error) {
	debug.FreeOSMemory()
	return sys.ReadRSS()
}

// owner is what an allocator does with a list of objects.
type owner struct {
	fill  func([]unsafe.Pointer) error // with objects of workload.HeapSize
	empty func([]unsafe.Pointer) error // frees them and shrinks
	purge func()                       // gives back what empty kept
}

func ownerOf(alloc string) (owner, error) {
	switch alloc {
	case workload.Go:
		return goOwner(), nil
	case workload.Slubd:
		cache, err := slub.New(nil, slub.Config{Name: "bench-resident", Size: workload.HeapSize, Flags: slub.NoMerge})
		if err != nil {
			return owner{}, err
		}
		return slubdOwner(cache), nil
	}
	return owner{}, fmt.Errorf("resident does not know allocator %q", alloc)
}

func goOwner() owner {
	return owner{
		fill: func(list []unsafe.Pointer) error {
			for i := range list {
				o := &object{}
				o.value[0] = uint64(i)
				list[i] = unsafe.Pointer(o)
			}
			return nil
		},
		empty: func(list []unsafe.Pointer) error { clear(list); return nil },
		purge: func() {},
	}
}

func slubdOwner(cache *slub.Cache) owner {
	return owner{
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
		purge: func() { cache.Arena().Purge(0) },
	}
}
