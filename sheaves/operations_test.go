package sheaves

import (
	"errors"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/rcu"
)

// objectRange has room for all objects that tests make on the first nodes.
func objectRange(nodes int) Range { return Range{Base: objectBase, Bytes: uintptr(nodes) << nodeShift} }

// newOwnSet is a rig whose Set makes its own stacks, as for users outside of this module.
func newOwnSet(t *testing.T, nodes int, r Range) *rig {
	t.Helper()
	return newRigOf(t, nodes, func(c *Config) { c.ObjectSize, c.Range, c.Slots, c.Owners = objectSize, r, Slots{}, nil })
}

// eachRange runs a test with and without Config.Range.
func eachRange(t *testing.T, nodes int, f func(*testing.T, *rig)) {
	for name, r := range map[string]Range{"range": objectRange(nodes), "no range": {}} {
		t.Run(name, func(t *testing.T) { f(t, newOwnSet(t, nodes, r)) })
	}
}

// TestOperations: objects go round through main, and through a grace period.
func TestOperations(t *testing.T) {
	eachRange(t, 1, func(t *testing.T, r *rig) {
		var objs []unsafe.Pointer
		for range 9 {
			p, err := r.Alloc()
			if err != nil {
				t.Fatal(err)
			}
			objs = append(objs, p)
		}
		r.got(objs...)
		r.Free(nil)
		r.FreeRCU(nil)
		for _, p := range objs[:5] {
			r.Free(p)
		}
		reader := r.reader()
		for _, p := range objs[5:] {
			r.FreeRCU(p)
		}
		r.gone(objs...)
		if n := r.src.reclaims(); n != 0 {
			t.Errorf("%d objects were reclaimed under a reader", n)
		}
		reader.Offline()
		r.barrier()
		if n := r.src.reclaims(); n != 4 {
			t.Errorf("%d objects were reclaimed, want 4", n)
		}
		e := r.Stats().Events
		if e[AllocFastpath] != 9 || e[FreeFastpath] != 5 || e[FreeRCUSheaf] != 4 || e[AllocSlowpath]+e[FreeSlowpath] != 0 {
			t.Errorf("counted %v", e)
		}
	})
}

// TestOperationsBypassSheaves: while the stacks are held every operation is completed by the
// Source, and Barrier waits for the object that no sheaf has taken.
func TestOperationsBypassSheaves(t *testing.T) {
	eachRange(t, 1, func(t *testing.T, r *rig) {
		main, free := r.hold(percpu.Main), r.hold(percpu.RCU)
		p, err := r.Alloc()
		if err != nil {
			t.Fatal(err)
		}
		q := r.take(1)[0]
		reader := r.reader()
		r.Free(p)
		r.FreeRCU(q)
		r.gone(q)
		main.Unlock()
		free.Unlock()
		if n := r.src.reclaims(); n != 0 || r.src.away() != 1 {
			t.Errorf("%d objects were reclaimed under a reader, %d are out, want 1", n, r.src.away())
		}
		reader.Offline()
		r.barrier()
		if n := r.src.reclaims(); n != 1 || r.src.away() != 0 {
			t.Errorf("%d objects were reclaimed, %d are out", n, r.src.away())
		}
		e := r.Stats().Events
		if e[AllocSlowpath] != 1 || e[FreeSlowpath] != 2 || e[FreeRCUSheafFail] != 1 || e[SheafFlush] != 0 {
			t.Errorf("counted %v", e)
		}
	})
}

// TestOperationsOfAnotherNode: a CPU's sheaves take no object of a node that is not in Others.
func TestOperationsOfAnotherNode(t *testing.T) {
	eachRange(t, 2, func(t *testing.T, r *rig) {
		r.ranks[0] = []int16{noRank, noRank}
		for _, p := range r.src.take(1, 2) {
			if r.nodeOf(p) != 1 {
				t.Fatalf("%v is not of node 1", p)
			}
		}
		objs := r.src.take(1, 2)
		r.Free(objs[0])
		r.FreeRCU(objs[1])
		r.barrier()
		e := r.Stats().Events
		if e[FreeSlowpath] != 2 || e[FreeFastpath]+e[FreeRCUSheaf]+e[FreeRCUSheafFail] != 0 {
			t.Errorf("counted %v", e)
		}
		r.src.giveBack([]unsafe.Pointer{object(1, 0), object(1, 1)})
	})
}

// TestFreeOfNoObject: with a Range, what is not where an object starts goes to the Source.
func TestFreeOfNoObject(t *testing.T) {
	src := &refusing{source: newSource(t, 1)}
	s, err := New(Config{Source: src, Domain: new(rcu.Domain), ObjectSize: objectSize, Range: objectRange(1)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	wrong := []unsafe.Pointer{object(0, -1), unsafe.Add(object(0, 3), 8), object(1, 0), unsafe.Pointer(s)}
	for _, p := range wrong {
		s.Free(p)
		s.FreeRCU(p)
	}
	if err := s.Barrier(t.Context()); err != nil {
		t.Error(err)
	}
	if len(src.flushed) != 2*len(wrong) {
		t.Errorf("the Source was given %d of %d pointers", len(src.flushed), 2*len(wrong))
	}
}

// A refusing source notes what it is given back.
type refusing struct{ *source }

func (s *refusing) Flush(objs []unsafe.Pointer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flushed = append(s.flushed, objs...)
}

// TestRange: an address is an object's if one starts there that lies in the range as a whole.
func TestRange(t *testing.T) {
	for _, size := range []uintptr{8, 48, 64, 4096, 5000, 8192, 12288} {
		for _, pages := range []uintptr{3, 4, 7, 1000} {
			s, err := New(Config{Source: newSource(t, 1), Domain: new(rcu.Domain), ObjectSize: size, Capacity: 4,
				Range: Range{Base: objectBase + 16, Bytes: pages * mem.PageSize}})
			if err != nil {
				t.Fatal(err)
			}
			n := pages * mem.PageSize / size
			for off, want := range map[uintptr]bool{0: true, size: n > 1, (n - 1) * size: true, n * size: false, 1: false,
				n*size - 8: size == 8, ^uintptr(7): false, (n + 1) * size: false} {
				if got := s.isObject(mem.Ptr(objectBase + 16 + off)); got != want {
					t.Errorf("%d objects of %d bytes in %d pages, offset %#x: %v", n, size, pages, off, got)
				}
			}
			s.Close()
		}
	}
}

// TestAllocErrors: the Source is short, or the Set is closed, before the Source was asked or after.
func TestAllocErrors(t *testing.T) {
	eachRange(t, 1, func(t *testing.T, r *rig) {
		r.src.short = 4
		if p, err := r.Alloc(); p != nil || !errors.Is(err, ErrShort) {
			t.Errorf("a short source gave %v, %v", p, err)
		}
		r.src.short = 0
		held := r.hold(percpu.Main)
		r.src.onRefill = func() { held.Unlock(); r.Close() }
		if p, err := r.Alloc(); p != nil || !errors.Is(err, ErrClosed) {
			t.Errorf("an Alloc that Close has overtaken gave %v, %v", p, err)
		}
		if p, err := r.Alloc(); p != nil || !errors.Is(err, ErrClosed) {
			t.Errorf("a closed set gave %v, %v", p, err)
		}
		p := r.src.take(0, 1)[0]
		r.Free(p)
		if n := r.src.away(); n != 0 {
			t.Errorf("%d objects are out", n)
		}
	})
}

// TestCloseFreesItsOwn: the stacks and counters that New made end with Close, and read as zeros.
func TestCloseFreesItsOwn(t *testing.T) {
	before := percpu.Cells()
	s, err := New(Config{Source: newSource(t, 1), Domain: new(rcu.Domain)})
	if err != nil {
		t.Fatal(err)
	}
	if p, err := s.Alloc(); err != nil {
		t.Error(err)
	} else {
		s.Free(p)
	}
	if n := percpu.Cells() - before; n != 2 {
		t.Errorf("a set has %d cells, want one for the stacks and one for the counters", n)
	}
	s.Close()
	s.Close()
	if err := s.FreeCounters(); err != nil {
		t.Error(err)
	}
	if n := percpu.Cells() - before; n != 0 {
		t.Errorf("%d cells are left", n)
	}
	if e := s.Stats().Events; e != ([NumEvents]uint64{}) {
		t.Errorf("a closed set counts %v", e)
	}
	s.Flush()
}
