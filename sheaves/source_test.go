package sheaves

import (
	"runtime"
	"sync"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
)

// An object is a recognisable address without memory behind it; it tells its node.
const (
	objectBase = 0x7000_0000_0000
	objectSize = 64
	nodeShift  = 24 // bytes of address space per node
	perNode    = 1 << nodeShift / objectSize
)

func object(node, n int) unsafe.Pointer {
	return mem.Ptr(uintptr(objectBase + node<<nodeShift + n*objectSize))
}

func nodeOf(p unsafe.Pointer) int { return int(uintptr(p)-objectBase) >> nodeShift }

// number counts objects through all nodes.
func number(p unsafe.Pointer) int { return int(uintptr(p)-objectBase) / objectSize }

// A source is the layer below in these tests. It knows of every object whether it is at home or
// out, and reports one that comes home twice.
type source struct {
	t testing.TB

	mu        sync.Mutex
	home      [][]unsafe.Pointer // by node
	made      []int              // by node: objects ever made
	out       map[unsafe.Pointer]bool
	flushed   []unsafe.Pointer // in the order of Flush
	reclaimed []unsafe.Pointer // in the order of Reclaim
	short     int              // by how much Refill hands out fewer than it is asked for
	full      map[int]bool     // nodes without memory

	// keep says which objects the free hooks keep; nil for none.
	keep func(unsafe.Pointer) bool
	// exits is how many of the next Reclaims end their goroutines.
	exits int
	// Called once, without locks, by the next call of that name.
	onRefill, onFlush, onReclaim func()
}

func newSource(t testing.TB, nodes int) *source {
	return &source{t: t, home: make([][]unsafe.Pointer, nodes), made: make([]int, nodes), out: map[unsafe.Pointer]bool{}}
}

// interrupt runs a hook, once.
func (s *source) interrupt(hook *func()) {
	s.mu.Lock()
	run := *hook
	*hook = nil
	s.mu.Unlock()
	if run != nil {
		run()
	}
}

// take hands out n objects of a node.
func (s *source) take(node, n int) []unsafe.Pointer {
	s.mu.Lock()
	defer s.mu.Unlock()
	objs := make([]unsafe.Pointer, n)
	for i := range objs {
		if home := s.home[node]; len(home) > 0 {
			objs[i], s.home[node] = home[len(home)-1], home[:len(home)-1]
		} else {
			objs[i] = object(node, s.made[node])
			s.made[node]++
		}
		s.out[objs[i]] = true
	}
	return objs
}

// giveBack takes objects home.
func (s *source) giveBack(objs []unsafe.Pointer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range objs {
		if !s.out[p] {
			s.t.Errorf("object %v comes home and was not out", p)
			continue
		}
		delete(s.out, p)
		s.home[nodeOf(p)] = append(s.home[nodeOf(p)], p)
	}
}

func (s *source) Refill(node int, dst []unsafe.Pointer, strict bool) int {
	if len(dst) == 0 {
		s.t.Error("refill of nothing")
	}
	s.interrupt(&s.onRefill)
	if s.full[node] {
		if strict {
			return 0
		}
		node = (node + 1) % len(s.home)
	}
	return copy(dst, s.take(node, max(0, len(dst)-s.short)))
}

func (s *source) Flush(objs []unsafe.Pointer) {
	if len(objs) == 0 {
		s.t.Error("flush of nothing")
	}
	s.mu.Lock()
	s.flushed = append(s.flushed, objs...)
	s.mu.Unlock()
	s.giveBack(objs)
	clear(objs) // a Set must not read them again
	s.interrupt(&s.onFlush)
}

func (s *source) Reclaim(objs []unsafe.Pointer) (kept int) {
	s.interrupt(&s.onReclaim)
	var hooked []unsafe.Pointer
	s.mu.Lock()
	for i, p := range objs {
		s.reclaimed = append(s.reclaimed, p)
		if s.keep != nil && s.keep(p) {
			hooked = append(hooked, p)
			continue
		}
		objs[kept], objs[i] = p, objs[kept]
		kept++
	}
	exit := s.exits > 0
	if exit {
		s.exits--
		hooked = append([]unsafe.Pointer(nil), objs...)
	}
	s.mu.Unlock()
	s.giveBack(hooked)
	if exit {
		runtime.Goexit()
	}
	return kept
}

func (s *source) NodeOf(p unsafe.Pointer) int { return nodeOf(p) }

// reclaims counts the objects that Reclaim was given.
func (s *source) reclaims() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.reclaimed)
}

// away counts the objects that are out.
func (s *source) away() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.out)
}
