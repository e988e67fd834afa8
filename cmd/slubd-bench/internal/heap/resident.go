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
// payload at the peak; the extra left_of_peak is the fraction that stays
// after freeing and slubd's Shrink or the runtime's FreeOSMemory.
func Resident(alloc string, live int) (workload.Sample, error) {
	pointers := make([]unsafe.Pointer, live)
	for i := range pointers {
		pointers[i] = unsafe.Pointer(&pointers[0]) // makes the slice itself resident
	}
	fill, empty, err := filler(alloc)
	if err != nil {
		return workload.Sample{}, err
	}
	base, err := anonymous()
	if err != nil {
		return workload.Sample{}, err
	}
	if err := fill(pointers); err != nil {
		return workload.Sample{}, err
	}
	peak, err := sys.ReadRSS()
	if err != nil {
		return workload.Sample{}, err
	}
	if err := empty(pointers); err != nil {
		return workload.Sample{}, err
	}
	left, err := anonymous()
	runtime.KeepAlive(pointers)
	return residentSample(float64(base), float64(peak), float64(left), live), err
}

// residentSample relates the readings, in bytes, to the payload.
func residentSample(base, peak, left float64, live int) workload.Sample {
	return workload.Sample{
		Value: (peak - base) / float64(live*workload.HeapSize),
		Extra: map[string]float64{
			"peak_bytes":   peak - base,
			"left_of_peak": max(0, left-base) / max(1, peak-base),
		},
	}
}

// anonymous is RssAnon without what the Go runtime merely has not returned.
func anonymous() (uint64, error) {
	debug.FreeOSMemory()
	return sys.ReadRSS()
}

// filler returns how alloc fills a list with objects and frees them.
func filler(alloc string) (fill, empty func([]unsafe.Pointer) error, err error) {
	switch alloc {
	case workload.Go:
		fill = func(list []unsafe.Pointer) error {
			for i := range list {
				o := &object{}
				o.value[0] = uint64(i)
				list[i] = unsafe.Pointer(o)
			}
			return nil
		}
		empty = func(list []unsafe.Pointer) error { clear(list); return nil }
		return fill, empty, nil
	case workload.Slubd:
		cache, err := slub.New(nil, slub.Config{Name: "bench-resident", Size: workload.HeapSize})
		if err != nil {
			return nil, nil, err
		}
		return slubdFiller(cache)
	}
	return nil, nil, fmt.Errorf("resident does not know allocator %q", alloc)
}

func slubdFiller(cache *slub.Cache) (fill, empty func([]unsafe.Pointer) error, err error) {
	fill = func(list []unsafe.Pointer) error {
		for i := range list {
			p, err := cache.Alloc()
			if err != nil {
				return err
			}
			(*object)(p).value[0] = uint64(i)
			list[i] = p
		}
		return nil
	}
	empty = func(list []unsafe.Pointer) error {
		for _, p := range list {
			cache.Free(p)
		}
		return cache.Shrink()
	}
	return fill, empty, nil
}
