package sheaves

import (
	"unsafe"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/rcu"
)

// A sheaf is a bounded LIFO of free objects, off-heap: this header, then the array.
//
//	0 <= size <= limit; objects [0:size) are present
//
// In a barn's list it is guarded by the barn's mutex, in a percpu.Stack by the stack's lock. The
// goroutine that has detached it owns all of it.
type sheaf struct {
	next  *sheaf    // in a barn's or the pool's list
	token rcu.Token // of the grace period that a waiting sheaf waits for
	size  uint32    // objects; stale while the sheaf is a stack's array
	limit uint32    // objects that fit
	node  uint16    // index of the node whose barn it came from or goes to
	// noBarn marks an rcu_free sheaf that a flush has detached: after its grace period it must not
	// go to the barn, since the Set may be closing.
	noBarn bool
	home   uint8 // index of the node whose chunk of the pool it lies in
	// charged is how many objects the Backlog counts for it, from the time it becomes an rcu_free
	// until it is reclaimed.
	charged uint32
}

// headerSize is the kernel's on 64 bit, so that the capacities chosen for it fill power-of-two
// sizes: 32 + 60*8 = 512 bytes.
const headerSize = 32

const (
	_ = headerSize - unsafe.Sizeof(sheaf{})
	_ = unsafe.Sizeof(sheaf{}) - headerSize
)

func sizeOf(capacity int) uintptr { return headerSize + uintptr(capacity)*8 }

// sheafOf is the sheaf at an address, as a percpu.Stack has it; nil for 0.
func sheafOf(addr uintptr) *sheaf { return mem.At[sheaf](addr) }

func (s *sheaf) addr() uintptr { return uintptr(unsafe.Pointer(s)) }

func (s *sheaf) array() uintptr { return s.addr() + headerSize }

// slots views the whole array.
func (s *sheaf) slots() []unsafe.Pointer {
	return unsafe.Slice((*unsafe.Pointer)(mem.Ptr(s.array())), int(s.limit))
}

// objects views the objects present.
func (s *sheaf) objects() []unsafe.Pointer { return s.slots()[:s.size] }

func (s *sheaf) full() bool { return s.size == s.limit }

func (s *sheaf) check() {
	if invariants.Enabled {
		invariants.Check(s.size <= s.limit, "sheaf holds %d of %d", s.size, s.limit)
		for i, p := range s.objects() {
			invariants.Check(p != nil, "sheaf holds nil at %d of %d", i, s.size)
		}
	}
}

// A list is a LIFO of sheaves, linked by next.
type list struct {
	head *sheaf
	n    int
}

func (l *list) push(s *sheaf) {
	s.next, l.head = l.head, s
	l.n++
}

func (l *list) pop() *sheaf {
	s := l.head
	if s != nil {
		l.head, s.next = s.next, nil
		l.n--
	}
	return s
}

// cut detaches all but the first n.
func (l *list) cut(n int) (rest list) {
	at := &l.head
	for range n {
		at = &(*at).next
	}
	rest = list{head: *at, n: l.n - n}
	*at, l.n = nil, n
	return rest
}

// append adds other behind the last.
func (l *list) append(other list) {
	at := &l.head
	for *at != nil {
		at = &(*at).next
	}
	*at = other.head
	l.n += other.n
}
