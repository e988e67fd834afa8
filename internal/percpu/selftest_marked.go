package percpu

import (
	"errors"
	"slices"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/owner"
)

var errMarked = errors.New("self-test: an object with a mark was not treated as its mark and its content say")

// selfTestMarked checks an engine's operations on objects with marks, of the sizes of selfTestZero.
func selfTestMarked(e engine) error {
	return onSlots(1, markedArea, func(s []Slots, area uintptr) error {
		return onOneCPU(e, func(cpu int) error {
			for _, n := range zeroSizes {
				for _, make := range []func(*markedTest, engine, Slots){(*markedTest).make, (*markedTest).makeChosen} {
					var t markedTest
					t.init(area, n)
					make(&t, e, s[0])
					if err := t.run(s[0].unpublished(cpu, RCU), 0, n/2, n-1); err != nil {
						return err
					}
				}
			}
			return nil
		})
	})
}

// A markedTest has the operations of a slab of one page. Its objects have n bytes that a free
// clears.
type markedTest struct {
	array, n uintptr
	object   unsafe.Pointer
	bytes    []byte // the object, and some of what is behind it
	mark     *byte
	filter   Filter
	marks    ObjectMarks
	owners   [1]owner.Word

	pop  func() (unsafe.Pointer, error)
	free func(unsafe.Pointer)
	// slow has the calls of slow paths, in order.
	slow []markedSlow
}

type markedSlow int

const (
	slowPopped markedSlow = iota
	slowFreed
	slowClaimed
)

// markedArea is the size of the memory of a markedTest: an array, a slab and a page of marks.
const (
	markedArea  = 3 * mem.PageSize
	markedShift = 3
)

var markedOwn = owner.Of(7, 0)

func (t *markedTest) init(area, n uintptr) {
	base := area + mem.PageSize
	t.array, t.n, t.object = area, n, mem.Ptr(base)
	t.bytes, t.mark = mem.Bytes(base, n+24), mem.At[byte](area+2*mem.PageSize)
	t.filter = NewFilter(base, 1, unsafe.Pointer(&t.owners), n+16, mem.PageSize/int(n+16), 0)
	t.marks = NewObjectMarks(base, mem.Addr(t.mark), markedShift, n)
}

func (t *markedTest) popSlow() (unsafe.Pointer, error) {
	t.slow = append(t.slow, slowPopped)
	return nil, errSlow
}

func (t *markedTest) freeSlow(p unsafe.Pointer)    { t.note(p, slowFreed) }
func (t *markedTest) freeClaimed(p unsafe.Pointer) { t.note(p, slowClaimed) }

func (t *markedTest) note(p unsafe.Pointer, which markedSlow) {
	if uintptr(p)&^8 == uintptr(t.object) { // or the argument is lost
		t.slow = append(t.slow, which)
	}
}

// make makes a PopMarked and a FreeMarked.
func (t *markedTest) make(e engine, s Slots) {
	pop, free := new(PopMarked), new(FreeMarked)
	of := t.filter.ForStacks(s, RCU).Marked(markedOwn, t.marks)
	pop.slots, pop.slow, pop.of = of.filter.slots, t.popSlow, of
	free.Filter, free.own, free.marks = of.filter, of.own, of.marks
	free.slow, free.claimed = t.freeSlow, t.freeClaimed
	e.initPopMarked(pop)
	e.initFreeMarked(free)
	t.pop, t.free = pop.Func(), free.Func()
}

// makeChosen makes a PopBySize and a FreeByOwner.
func (t *markedTest) makeChosen(e engine, s Slots) {
	of := t.filter.ForStacks(s, RCU).Marked(markedOwn, t.marks)
	table := slices.Repeat([]*MarkedObjects{&of}, fineStacks+MaxFine/CoarseStep)
	pop, free := new(PopBySize), new(FreeByOwner)
	pop.marks, pop.marked = unsafe.Pointer(&table[0]), MaxFine
	asked := 0
	pop.slow = func(n int) (unsafe.Pointer, error) { asked = n; return t.popSlow() }
	free.slow, free.claimed = t.freeSlow, t.freeClaimed
	free.marks, free.ownPages = unsafe.Pointer(&of.marks), 1
	free.fill(markedOwn.ID(), []Filter{of.filter})
	e.initPopBySizeMarked(pop)
	e.initFreeByOwnerMarked(free)
	t.free = free.Func()
	t.pop = func() (unsafe.Pointer, error) {
		asked = int(t.n)
		p, err := pop.Func()(int(t.n)%MaxFine + 1)
		if err != nil && asked != int(t.n)%MaxFine+1 {
			return nil, errChoice
		}
		return p, err
	}
}

// paint fills the object and what is behind it.
func (t *markedTest) paint(mark byte) {
	*t.mark = mark
	for i := range t.bytes {
		t.bytes[i] = 0xaa
	}
}

// is reports whether the mark is as given, the first cleared bytes are zero, and no others.
func (t *markedTest) is(mark byte, cleared uintptr) bool {
	for i, b := range t.bytes {
		if (b == 0) != (uintptr(i) < cleared) {
			return false
		}
	}
	return *t.mark == mark
}

// freed paints the object with a mark and frees it as one with an owner word. It reports whether
// that called the slow path, cleared the bytes and left the mark as given.
func (t *markedTest) freed(p unsafe.Pointer, own owner.Word, mark byte, slow []markedSlow, after byte, cleared uintptr) bool {
	t.paint(mark)
	t.owners[0], t.slow = own, nil
	t.free(p)
	t.owners[0] = markedOwn
	return slices.Equal(t.slow, slow) && t.is(after, cleared)
}

// popped reports whether a pop returns the object and marks it, or, if slow, its slow path's
// error, and leaves the mark as it is.
func (t *markedTest) popped(slow bool) bool {
	before := *t.mark
	t.slow = nil
	p, err := t.pop()
	if slow {
		return p == nil && err == errSlow && slices.Equal(t.slow, []markedSlow{slowPopped}) && *t.mark == before
	}
	return p == t.object && err == nil && t.slow == nil && *t.mark == MarkInUse
}

// run frees and allocates the object on a stack. dirty are offsets of bytes that a write after the
// free changes.
func (t *markedTest) run(st *Stack, dirty ...uintptr) error {
	const inUse, free, otherMark = MarkInUse, MarkFree, 2
	own, p := markedOwn, t.object
	st.Install(t.array, 0, 1, own)
	defer st.Install(t.array, 0, 0, 0)
	refused := []markedSlow{slowFreed}
	ok := t.popped(true)
	for _, w := range []owner.Word{owner.Of(8, 0), own | owner.NonDefaultOrder, 0} {
		ok = ok && t.freed(p, w, inUse, refused, inUse, 0)
	}
	inside := unsafe.Add(p, 8)
	ok = ok && t.freed(inside, own, inUse, refused, inUse, 0) &&
		t.freed(p, own, free, refused, free, 0) &&
		t.freed(p, own, otherMark, refused, otherMark, 0) &&
		t.freed(p, own+1, inUse, []markedSlow{slowClaimed}, free, t.n) && // of another node
		st.Size() == 0 &&
		t.freed(p, own, inUse, nil, free, t.n) && st.Size() == 1 &&
		t.freed(p, own, free, refused, free, 0) && st.Size() == 1
	st.SetSize(0)
	ok = ok && t.freed(p, own, inUse, nil, free, t.n) && st.Size() == 1 && t.popped(false) && t.is(inUse, t.n)
	ok = ok && t.freed(p, own, inUse, nil, free, t.n)
	for _, at := range dirty {
		t.bytes[at] = 1
		ok = ok && t.popped(true) && st.Size() == 1
		t.bytes[at] = 0
	}
	*t.mark = inUse
	ok = ok && t.popped(true) && st.Size() == 1
	*t.mark = free
	slot := mem.At[uintptr](t.array)
	for _, other := range []uintptr{0, uintptr(p) + 8, uintptr(p) + 1, uintptr(p) - mem.PageSize, uintptr(p) + mem.PageSize, 1 << 63} {
		*slot = other // the array was overwritten
		ok = ok && t.popped(true) && st.Size() == 1
	}
	*slot = uintptr(p)
	for _, w := range []owner.Word{owner.Of(8, 0), own | owner.NonDefaultOrder, 0} {
		t.owners[0] = w
		ok = ok && t.popped(true) && st.Size() == 1
	}
	t.owners[0] = own + 1 // of another node
	*t.mark = otherMark
	ok = ok && t.popped(false) && st.Size() == 0
	if !ok {
		return errMarked
	}
	return nil
}
