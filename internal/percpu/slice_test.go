package percpu

import (
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/owner"
	"github.com/slubd/slubd/internal/testutil"
)

// sliceRoom is the room that newSlice's slices have, and sliceRooms the table that says so.
const sliceRoom = 64

var sliceRooms = func() (rooms []uint16) {
	for range fineStacks + MaxFine/CoarseStep {
		rooms = append(rooms, sliceRoom)
	}
	return rooms
}()

// newSlice returns a SliceBySize with the stacks of from.
func newSlice(from *PopBySize, slow SliceFunc) SliceFunc {
	p := new(SliceBySize)
	p.Init(slow)
	p.Fill(from, sliceRooms)
	return p.Func()
}

// sliceOps pop and free slices of three bytes. Where the engine has no sequence for that they are
// its operations on objects.
func sliceOps() stressOps {
	ops := plainOps
	if current.initPopZero == nil { // the same engines have both
		return ops
	}
	ops.pop = func(s Slots, _ Filter) PopFunc {
		steps := make([]Slots, MaxFine/FineStep)
		for i := range steps {
			steps[i] = s
		}
		from := new(PopBySize)
		from.Fill(Main, steps, steps[:MaxFine/CoarseStep])
		slice := newSlice(from, func(int) ([]byte, error) { return nil, nil })
		return func() (unsafe.Pointer, error) {
			s, err := slice(3)
			if s != nil && (len(s) != 3 || cap(s) != sliceRoom) {
				return unsafe.Add(unsafe.Pointer(&s[0]), 1<<20), err // no object of the test
			}
			return unsafe.Pointer(unsafe.SliceData(s)), err
		}
	}
	ops.free = func(f Filter, slow FreeFunc) FreeFunc {
		free := new(FreeSliceByOwner)
		free.Init(func(s []byte) {
			if len(s) == 3 && cap(s) == sliceRoom { // or the object is lost
				slow(unsafe.Pointer(unsafe.SliceData(s)))
			}
		})
		free.Fill(testOwn>>NodeBits, []Filter{f})
		return func(p unsafe.Pointer) { free.Func()(unsafe.Slice((*byte)(p), sliceRoom)[:3]) }
	}
	return ops
}

// TestStressSlices is TestStress of slices.
func TestStressSlices(t *testing.T) {
	eachEngine(t, func(t *testing.T) { stress(t, sliceOps(), testutil.Stress(t, 1_000_000)) })
}

// TestSelfTestSlices: the self-test accepts the engine's operations, and rejects operations that
// take their slow path alone, or lose a part of a slice on the way there.
func TestSelfTestSlices(t *testing.T) {
	stack, err := newRseq()
	needRseq(t, err)
	good := withRegisters(stack)
	if err := selfTestSlices(good); err != nil {
		t.Fatal(err)
	}
	breakFree := func(change func(s []byte) []byte) func(*engine) {
		return func(e *engine) {
			e.initFreeSliceByOwner = func(f *FreeSliceByOwner) {
				slow := f.sliceSlow
				f.sliceSlow = func(s []byte) { slow(change(s)) }
				good.initFreeSliceByOwner(f)
			}
		}
	}
	breakSlow := func(change func(n int, s []byte) (int, []byte)) func(*engine) {
		return func(e *engine) {
			e.initSliceBySize = func(p *SliceBySize) {
				slow := p.sliceSlow
				p.sliceSlow = func(n int) ([]byte, error) {
					m, _ := change(n, nil)
					s, err := slow(m)
					_, s = change(n, s)
					return s, err
				}
				good.initSliceBySize(p)
			}
		}
	}
	for name, broken := range map[string]func(*engine){
		"no slices":          func(e *engine) { e.initSliceBySize = stack.initSliceBySize },
		"no frees":           func(e *engine) { e.initFreeSliceByOwner = stack.initFreeSliceByOwner },
		"sizes mangled":      breakSlow(func(n int, s []byte) (int, []byte) { return n + 1, s }),
		"the length is lost": breakSlow(func(n int, s []byte) (int, []byte) { return n, s[:0] }),
		"the room is lost":   breakSlow(func(n int, s []byte) (int, []byte) { return n, s[:len(s):len(s)] }),
		"a length mangled":   breakFree(func(s []byte) []byte { return s[:len(s)/2] }),
		"a capacity mangled": breakFree(func(s []byte) []byte { return s[:len(s):len(s)] }),
		"a crash": func(e *engine) {
			e.initSliceBySize = func(p *SliceBySize) {
				p.sliceSlow = func(int) ([]byte, error) { panic("bad ABI") }
				p.setSlowCode()
			}
		},
	} {
		e := good
		broken(&e)
		if selfTestSlices(e) == nil {
			t.Errorf("not noticed: %s", name)
		}
	}
}

// TestFreeSliceChecksOwner: an object of a cache that isn't served, or of another node than the
// stack's, takes the slow path.
func TestFreeSliceChecksOwner(t *testing.T) {
	eachEngine(t, func(t *testing.T) {
		slots := arrays(t, Main, 8)
		for _, own := range []owner.Word{testOwn ^ 1, testOwn + 1<<NodeBits, testOwn - 1<<NodeBits, 0} {
			refused := 0
			free := new(FreeSliceByOwner)
			free.Init(func([]byte) { refused++ })
			free.Fill(testOwn>>NodeBits, []Filter{filter(slots, Main, own)})
			free.Func()(unsafe.Slice((*byte)(object(1)), 8))
			if n := total(slots, Main).Pushes; n != 0 || refused != 1 {
				t.Errorf("owner word %#x: %d pushes, %d refused", own, n, refused)
			}
		}
	})
}
