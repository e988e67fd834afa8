package slub

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
)

// A witness notes in which state the destructor and the Free hook find each of its objects.
type witness struct {
	cache   *Cache
	objs    []unsafe.Pointer
	more    []unsafe.Pointer // allocated while the lives of objs ended
	size    uintptr
	counted func(unsafe.Pointer) bool // an Account or a call site has the object

	dtors   atomic.Int64 // calls of the destructor
	panicAt int64        // the call that panics; 0: none

	mu   sync.Mutex
	seen map[uintptr]string
}

// writers says by the stamp of an object's bytes what wrote them last.
var writers = []string{1: "its user", 2: "the destructor", 3: "the hook"}

func (w *witness) note(step string, p unsafe.Pointer, stamp uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	writer, bytes := "nothing known", unsafe.Slice((*byte)(p), w.size)
	found := slices.Clone(bytes)
	if w.panicAt > 0 { // what is behind that goes to FreeDeferred's list, by its links
		w.blankLink(found)
	}
	for stamp, name := range writers[1:] {
		paint(p, w.size, uint64(stamp+1))
		if w.panicAt > 0 {
			w.blankLink(bytes)
		}
		if slices.Equal(bytes, found) {
			writer = name
		}
	}
	w.seen[uintptr(p)] += fmt.Sprintf("%s: bytes of %s, counted: %v; ", step, writer, w.counted(p))
	paint(p, w.size, stamp)
}

func (w *witness) destroy(p unsafe.Pointer) {
	w.note("destructor", p, 2)
	if w.dtors.Add(1) == w.panicAt {
		panic("destructor")
	}
}

func (w *witness) hook(o hooks.Object) (keep bool) {
	w.note("hook", mem.Ptr(o.Addr), 3)
	return false
}

// freeRCU paints the objects, as their user, and gives them to FreeRCU or a variant of it.
func (w *witness) freeRCU(free func(unsafe.Pointer)) {
	for _, p := range w.objs {
		paint(p, w.size, 1)
		free(p)
	}
}

// check compares what each object has seen with the order that FreeRCU keeps.
func (w *witness) check(t *testing.T, destroyed, counted bool) {
	t.Helper()
	want := "hook: bytes of its user, counted: false; "
	if destroyed {
		want = fmt.Sprintf("destructor: bytes of its user, counted: %v; "+
			"hook: bytes of the destructor, counted: false; ", counted)
	}
	for i, p := range w.objs {
		if got := w.seen[uintptr(p)]; got != want {
			t.Fatalf("object %d of %d: %q, want %q", i, len(w.objs), got, want)
		}
	}
}

// blankLink zeroes the bytes of an object that a link takes, if it is inside.
func (w *witness) blankLink(object []byte) {
	if c := w.cache; c != nil && c.layout.fpInside() {
		clear(object[c.layout.fp:][:freePtrSize])
	}
}

// wantZero checks that all objects are zero, except for links that their slabs may have written.
func (w *witness) wantZero(t *testing.T) {
	t.Helper()
	for n, p := range w.objs {
		found := slices.Clone(unsafe.Slice((*byte)(p), w.size))
		w.blankLink(found)
		if i := slices.IndexFunc(found, func(b byte) bool { return b != 0 }); i >= 0 {
			t.Fatalf("object %d of %d: byte %d is %#x", n, len(w.objs), i, found[i])
		}
	}
}
