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
// Whoever detached it owns all of it; in a barn's list it belongs to the barn's
// mutex, in a percpu.Stack to the stack's lock.
type sheaf struct {
	next  *sheaf    // in a barn's or the pool's list
	token rcu.Token // waiting sheaves: the grace period to see out
	size  uint32    // objects; stale while the sheaf is a stack's array
	limit uint32    // objects that fit
	node  uint16    // index of the node whose barn it came from or goes to
	// noBarn marks an rcu_free sheaf detached by a flush: after its grace period
	// it must not be parked again, as the cache may be on its way out.
	noBarn bool
	_      [1]byte
	// charged is how many objects the Backlog counts for it, from becoming an rcu_free
	// until it is expired.
	charged uint32
}

// headerSize is as the kernel's on 64 bit, so that the capacities chosen for it
// fill power-of-two sizes: 32 + 60*8 = 512 bytes.
const headerSize = 32

const (
	_ = headerSize - unsafe.Sizeof(sheaf{})
	_ = unsafe.Sizeof(sheaf{}) - headerSize
)

func sizeOf(capacity int) uintptr { return headerSize + uintptr(capacity)*8 }

// sheafOf is the sheaf in a percpu.Stack's word, nil for 0.
func sheafOf(word uintptr) *sheaf { return mem.At[sheaf](word) }

func (s *sheaf) word() uintptr { return uintptr(unsafe.Pointer(s)) }

func (s *sheaf) array() uintptr { return s.word() + headerSize }

// room views the whole array.
func (s *sheaf) room() []unsafe.Pointer {
	return unsafe.Slice((*unsafe.Pointer)(mem.Ptr(s.array())), int(s.limit))
}

// objects views the objects present.
func (s *sheaf) objects() []unsafe.Pointer { return s.room()[:s.size] }

func (s *sheaf) full() bool { return s.size == s.limit }

func (s *sheaf) check() {
	if invariants.Enabled {
		invariants.Check(s.size <= s.limit, "sheaf holds %d of %d", s.size, s.limit)
		for i, p := range s.objects() {
			invariants.Check(p != nil, "sheaf holds nil at %d of %d", i, s.size)
		}
	}
}

// A list is a LIFO of sheaves through their next words.
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
