package slab

import (
	"runtime"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
)

// leaves are the ways in which a report doesn't return.
var leaves = map[string]func(){"panic": func() { panic("report") }, "Goexit": runtime.Goexit}

// apart runs f on a goroutine of its own, which f may end.
func apart(f func()) {
	done := make(chan bool)
	go func() {
		defer close(done)
		defer func() { _ = recover() }()
		f()
	}()
	<-done
}

// leaving makes the rig's next report leave, and returns whether it has.
func (r *rig) leaving(leave func()) (left *bool) {
	left = new(bool)
	report := func(uintptr, uintptr) {
		if !*left {
			*left = true
			leave()
		}
	}
	r.onCorrupt, r.onDoubleFree = report, report
	return left
}

// expectFree compares the number of free objects.
func (r *rig) expectFree(what string, left *bool, want int) {
	r.t.Helper()
	if !*left {
		r.t.Errorf("%s: nothing was reported", what)
	}
	if got := int(r.NodeStats(0).FreeInSlabs); got != want {
		r.t.Errorf("%s: %d objects are free, want %d", what, got, want)
	}
	r.counted(what)
}

// A Take that finds a broken chain in one of several slabs, and whose report does not return, frees
// what it has, and leaves the other slabs where refills find them. What is behind the break is
// lost, as it is if the report returns.
func TestTakeWhoseReportLeaves(t *testing.T) {
	for how, leave := range leaves {
		for broken := range 3 {
			r := open(t, 64, Config{})
			slabs := r.fullSlabs(3)
			for _, ps := range slabs {
				r.free(ps[:3]...)
			}
			ps := slabs[broken]
			at := mem.At[uint64](uintptr(ps[1]) + r.fp)
			link := *at
			*at ^= 0xdead << 40
			left := r.leaving(leave)
			apart(func() { _, _ = r.Take(0, make([]unsafe.Pointer, 20), false) })
			// ps[1] is free again with a good link; ps[0] is lost.
			if *at == link^0xdead<<40 {
				t.Errorf("%s: the broken link is still there", how)
			}
			r.expectFree(how, left, 8)
			for _, ps := range slabs {
				r.free(ps[3:]...)
			}
			r.free(ps[0])
		}
	}
}

// The rest of a chain that a refill returns may end with an object that was freed a second time
// meanwhile. The report that does not return loses none of those that the refill has.
func TestReturnedChainWhoseReportLeaves(t *testing.T) {
	for how, leave := range leaves {
		r := open(t, 64, Config{MinPartial: 1})
		ps := r.take(r.perSlab)
		r.free(ps[:3]...)
		ref := r.detach(ps[3])
		st := ref.load()
		if !ref.state.CompareAndSwap(st.pack(), slabState{inuse: ref.objects}.pack()) {
			t.Fatal("the slab changes by itself")
		}
		r.countFree(ref.node, -3)
		r.free(ps[0]) // the last of the chain, which is free already
		found := r.returnRest(ref, uintptr(ps[1]), 2, 0)
		if want := (finding{obj: uintptr(ps[0]), twice: true}); found != want {
			t.Errorf("found %+v, want %+v", found, want)
		}
		left := r.leaving(leave)
		apart(func() { r.reportTaking(found, ps[2:3]) })
		r.expectFree(how, left, 3)
		r.free(ps[3:]...)
	}
}

// A FreeBulk that finds an object freed twice, at the beginning of a slab's objects, in the midst
// of them or at the end, frees all others though the report does not return.
func TestFreeBulkWhoseReportLeaves(t *testing.T) {
	for how, leave := range leaves {
		for _, twice := range []int{0, 5, 9} {
			r := open(t, 64, Config{})
			slabs := r.fullSlabs(2)
			var objs []unsafe.Pointer
			for i, p := range append(slabs[0][:10:10], slabs[1][:10]...) {
				objs = append(objs, p)
				if i == twice {
					objs = append(objs, p)
				}
			}
			left := r.leaving(leave)
			apart(func() { r.FreeBulk(objs) })
			r.expectFree(how, left, 20)
			r.free(slabs[0][10:]...)
			r.free(slabs[1][10:]...)

			p := r.take(1)[0]
			r.Free(p) // the first free object of its slab
			left = r.leaving(leave)
			apart(func() { r.FreeBulk([]unsafe.Pointer{p}) })
			if !*left {
				t.Errorf("%s: a second free in a bulk is not reported", how)
			}
		}
	}
}
