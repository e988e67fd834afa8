package nodemem

import (
	"sync"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/numa"
)

// chunkSize is the size of a chunk in bytes. A chunk takes memory a page at a time.
const chunkSize = 64 << 10

// A machine has the chunks of all nodes.
type machine struct {
	bind func(node numa.Node, addr, n uintptr) bool // reports whether the kernel will

	mu      sync.Mutex // guards all chunks
	classes map[classKey]*class
	inUse   int // slots that are taken
	taken   int // slots that were ever taken
}

// theMachine is the one that this process runs on. everyNode is the one of AnyNode.
var (
	theMachine = newMachine(bind)
	everyNode  = newMachine(func(numa.Node, uintptr, uintptr) bool { return true })
)

func newMachine(bind func(numa.Node, uintptr, uintptr) bool) *machine {
	return &machine{bind: bind, classes: make(map[classKey]*class)}
}

// bind asks the kernel to place pages on a node. A full node is no reason to fail: then its pages
// come from the next nearest.
func bind(node numa.Node, addr, n uintptr) bool {
	p, err := numa.Policy{Mode: numa.Preferred, Nodes: []numa.Node{node}}.Apply(addr, n)
	return err == nil && p.Outcome == numa.Bound
}

type classKey struct {
	node numa.Node
	size uintptr
}

// A class has the chunks of slots of one size on one node.
type class struct {
	size   uintptr
	chunks []*chunk
	open   int // chunks before this one have no free slot
}

// A chunk is chunkSize bytes at addr, and has slots one behind the other.
type chunk struct {
	class *class
	index int // in class.chunks
	addr  uintptr
	next  uintptr   // offset of the first slot that was never taken
	free  []uintptr // addresses of others that are free
	live  int       // slots that are taken
}

// A slot is memory for one value.
type slot struct {
	addr  uintptr
	chunk *chunk
}

// take returns a zeroed slot on a node, which has memory by then, or false if the kernel refuses.
func (m *machine) take(node numa.Node, size uintptr) (slot, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.classes[classKey{node, size}]
	if c == nil {
		c = &class{size: size}
		m.classes[classKey{node, size}] = c
	}
	for ; c.open < len(c.chunks); c.open++ {
		if s, ok := c.chunks[c.open].take(); ok {
			m.count()
			return s, true
		}
	}
	addr, ok := m.newChunk(node, size)
	if !ok {
		return slot{}, false
	}
	k := &chunk{class: c, index: len(c.chunks), addr: addr}
	c.chunks = append(c.chunks, k)
	m.count()
	return k.take()
}

func (m *machine) count() {
	m.inUse++
	m.taken++
}

// newChunk maps memory on a node for slots of a size. It has no huge pages: one could hold the
// chunks of thousands of caches, used or not. It has no access before it is bound: otherwise
// mlockall(MCL_FUTURE) would make all of it resident on the caller's node.
func (m *machine) newChunk(node numa.Node, size uintptr) (addr uintptr, ok bool) {
	if size > chunkSize {
		return 0, false
	}
	addr, err := sys.ReserveAs(chunkSize, sys.NoAccess)
	if err != nil {
		return 0, false
	}
	if !m.bind(node, addr, chunkSize) || sys.Protect(addr, chunkSize, sys.ReadWrite) != nil {
		_ = sys.Unmap(addr, chunkSize) // nothing was handed out
		return 0, false
	}
	_ = sys.AdviseHuge(addr, chunkSize, false)       // not all kernels have huge pages
	_ = sys.SetName(addr, chunkSize, "slubd: nodes") // not all kernels have names
	return addr, true
}

// take returns a slot of the chunk, or false if all are taken. The caller holds the machine's mu.
func (k *chunk) take() (slot, bool) {
	s := slot{chunk: k}
	if n := len(k.free); n > 0 {
		s.addr, k.free = k.free[n-1], k.free[:n-1]
	} else if k.next+k.class.size <= chunkSize {
		s.addr = k.addr + k.next
		k.next += k.class.size
	} else {
		return slot{}, false
	}
	k.live++
	mem.Zero(s.addr, k.class.size) // also gives a fresh page its memory
	return s, true
}

// put takes slots back that nothing refers to any more.
func (m *machine) put(slots []slot) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range slots {
		s.chunk.put(s.addr)
	}
	m.inUse -= len(slots)
}

// put takes a slot back. Without slots in use the chunk's memory goes to the kernel, unless it is
// the first chunk, so that a program which opens and closes one cache again and again makes no
// system call for it. The policy stays. The caller holds the machine's mu.
func (k *chunk) put(addr uintptr) {
	k.live--
	k.free = append(k.free, addr)
	k.class.open = min(k.class.open, k.index)
	if k.live == 0 && k.index > 0 && sys.Discard(k.addr, chunkSize) == nil {
		k.next, k.free = 0, nil
	}
}

// Taken returns how many values were ever placed in slots. For tests.
func Taken() (values int) {
	for _, m := range []*machine{theMachine, everyNode} {
		m.mu.Lock()
		values += m.taken
		m.mu.Unlock()
	}
	return values
}

// Usage returns how many values lie in slots, and how many bytes of memory the chunks have. For
// tests.
func Usage() (values int, bytes uintptr) {
	for _, m := range []*machine{theMachine, everyNode} {
		v, b := m.usage()
		values, bytes = values+v, bytes+b
	}
	return values, bytes
}

func (m *machine) usage() (values int, bytes uintptr) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.classes {
		for _, k := range c.chunks {
			bytes += mem.AlignUp(k.next, mem.PageSize)
		}
	}
	return m.inUse, bytes
}
