package slub_test

import (
	"github.com/slubd/slubd/slub"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"
)

// holding is a type with T somewhere inside.
type holding[T any] struct {
	_ int
	//lint:ignore U1000 found by reflection
	inner struct {
		_    [0]func() // no element, no pointer
		list [3]struct{ field T }
	}
}

func pointered[T any](t *testing.T, holds string) {
	t.Helper()
	_, err := slub.NewTyped[holding[T]](nil, slub.Config{})
	same(t, "NewTyped", err, slub.ErrGoPointers)
	if err != nil && (!strings.Contains(err.Error(), ".inner.list[0].field") || !strings.HasSuffix(err.Error(), " holds "+holds)) {
		t.Errorf("of %s: %v", holds, err)
	}
	if _, err := slub.NewTyped[T](nil, slub.Config{}); err == nil {
		t.Errorf("%s is accepted by itself", holds)
	}
}

// Every kind of Go pointer is pointered, with the path to it.
func TestTypedRefusesGoPointers(t *testing.T) {
	pointered[*int](t, "a pointer (*int)")
	pointered[unsafe.Pointer](t, "a pointer (unsafe.Pointer)")
	pointered[string](t, "a string")
	pointered[[]byte](t, "a slice ([]uint8)")
	pointered[map[int]int](t, "a map (map[int]int)")
	pointered[chan int](t, "a channel (chan int)")
	pointered[func()](t, "a function (func())")
	pointered[any](t, "an interface (interface {})")
	pointered[error](t, "an interface (error)")
	pointered[name](t, "a string (slub_test.name)")
	_, err := slub.NewTyped[struct{ v atomic.Pointer[int] }](nil, slub.Config{})
	same(t, "NewTyped of an atomic pointer", err, slub.ErrGoPointers)
	_, err = slub.NewTyped[struct{}](nil, slub.Config{})
	same(t, "NewTyped of nothing", err, slub.ErrConfig)
	_, err = slub.NewTyped[struct{ user *point }](nil, slub.Config{Name: "session"})
	const want = `slub: type holds Go pointers: cache "session": struct { user *slub_test.point }.user holds a pointer (*slub_test.point)`
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

type name string

type point struct {
	x, y  int64
	label [5]byte
	next  slub.Ref[point]
	mu    sync.Mutex
	word  uintptr
	z     complex128
}

func TestTyped(t *testing.T) {
	withoutSamples(t) // AllocZero must find the memory of freed objects
	a := newArena(t, smallArena)
	typed, err := slub.NewTyped[point](a, slub.Config{})
	if err != nil {
		t.Fatal(err)
	}
	c := typed.Cache()
	if s := c.Stats(); s.Size != int64(unsafe.Sizeof(point{})) || s.Align < int64(unsafe.Alignof(point{})) || c.Name() != "slub_test.point" {
		t.Errorf("%q of %d bytes aligned to %d", c.Name(), s.Size, s.Align)
	}
	var head slub.Ref[point]
	if !head.IsNil() || head.Ptr() != nil || !typed.Ref(nil).IsNil() {
		t.Error("the zero Ref is not nil")
	}
	again := 0
	for i := range 100 {
		dirty, err := typed.Alloc()
		if err != nil {
			t.Fatal(err)
		}
		paint(unsafe.Pointer(dirty), unsafe.Sizeof(*dirty), 1)
		typed.Free(dirty)
		p, err := typed.AllocZero()
		if err != nil {
			t.Fatal(err)
		}
		if p == dirty {
			again++
		}
		if !zeroed(unsafe.Pointer(p), unsafe.Sizeof(*p)) {
			t.Fatalf("object %d is not zero: % x", i, unsafe.Slice((*byte)(unsafe.Pointer(p)), unsafe.Sizeof(*p)))
		}
		p.x, p.next = int64(i), head
		head = typed.Ref(p)
	}
	if again == 0 { // memory that was never used is zero anyway
		t.Error("AllocZero gave no object that had been in use")
	}
	for i := 99; !head.IsNil(); i-- {
		p := head.Ptr()
		if p.x != int64(i) || slub.RefOf(p) != head {
			t.Fatalf("element %d reads %d", i, p.x)
		}
		if head = p.next; i%2 == 0 {
			typed.Free(p)
		} else {
			typed.FreeRCU(p)
		}
	}
	p, err := typed.Alloc()
	if err != nil || uintptr(unsafe.Pointer(p))%unsafe.Alignof(*p) != 0 {
		t.Errorf("%p, %v", p, err)
	}
	typed.Free(p)
	same(t, "Close", typed.Close(), nil)
}

func TestTypedConfig(t *testing.T) {
	a := newArena(t, smallArena)
	for _, bad := range []slub.Config{{Size: 7}, {Align: 4}, {SheafCapacity: -1}} {
		_, err := slub.NewTyped[[2]uint64](a, bad)
		same(t, "NewTyped", err, slub.ErrConfig)
	}
	typed, err := slub.NewTyped[[2]uint64](a, slub.Config{Size: 100, Align: 64})
	if err != nil {
		t.Fatal(err)
	}
	defer typed.Close()
	if s := typed.Cache().Stats(); s.SlotSize != 128 || !strings.HasPrefix(s.Name, "size-100") {
		t.Errorf("%q, slots of %d bytes", s.Name, s.SlotSize)
	}
}

// Pointers of a Typed go in bulk, to a node and back like a Cache's.
func TestTypedLikeCache(t *testing.T) {
	typed, err := slub.NewTyped[point](newArena(t, smallArena), slub.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ps := make([]*point, 200)
	same(t, "AllocBulk", typed.AllocBulk(ps), nil)
	seen := map[*point]bool{}
	for i, p := range ps {
		p.x, p.word = int64(i), uintptr(i)
		seen[p] = true
	}
	if len(seen) != len(ps) || seen[nil] {
		t.Errorf("%d different objects of %d", len(seen), len(ps))
	}
	node := typed.Cache().Arena().Topology().Nodes()[0]
	p, err := typed.AllocNode(node)
	if err != nil || seen[p] || typed.Cache().Arena().NodeOf(uintptr(unsafe.Pointer(p))) != node {
		t.Errorf("%p of node %d, %v", p, node, err)
	}
	typed.Free(p)
	if n := typed.Stats().InUse; n != 200 {
		t.Errorf("%d objects in use, want 200", n)
	}
	for i, p := range ps {
		if p.x != int64(i) {
			t.Errorf("object %d reads %d", i, p.x)
		}
	}
	typed.FreeBulk(append(ps[:150:150], nil))
	for _, p := range ps[150:] {
		typed.FreeRCU(p)
	}
	same(t, "Barrier", typed.Barrier(t.Context()), nil)
	if n := typed.Shrink(); n != 0 || typed.Stats().InUse != 0 {
		t.Errorf("%d slabs left, %d objects in use", n, typed.Stats().InUse)
	}
	typed.FreeBulk(nil)
	same(t, "AllocBulk of none", typed.AllocBulk(nil), nil)
	same(t, "CloseContext", typed.CloseContext(t.Context()), nil)
	same(t, "AllocBulk after Close", typed.AllocBulk(ps), slub.ErrClosed)
	if ps[0] != nil {
		t.Error("a failed AllocBulk left pointers")
	}
}
