package sheaves

import (
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/internal/percpu"
)

// remote is the sheaves in which CPUs keep objects of other nodes than their own. What a CPU frees
// of another node gathers there, and goes home a sheaf at a time: to that node's barn, or by
// Source.Flush. TryAllocNode takes objects from there, so that memory of a node without CPUs is
// not only had from the Source.
//
// For each CPU the sheaves of rank 0 are for the first of its node's Config.Others, those of rank 1
// for the second. With ranks instead of nodes the stacks of all CPUs are in use where there are two
// nodes, and a caller with Slots can try the most likely node first, by a sequence; see
// RemoteSlots. A rank gets its stacks with the first operation that needs them, or by RemoteSlots;
// a stack gets its sheaf with the first on its CPU.
type remote struct {
	others [][]int   // by node that has CPUs, or may get some: the other nodes, by rank
	ranks  [][]int16 // by such a node: the rank of each node, or noRank
	byRank []atomic.Pointer[cpuSheaves]

	making sync.Mutex // held while the stacks of a rank are made, and by CloseContext
}

const noRank = -1

// init needs all else of the Set.
func (r *remote) init(s *Set, cfg *Config) {
	r.others, r.ranks = make([][]int, cfg.Nodes), make([][]int16, cfg.Nodes)
	n := 0
	for _, home := range s.nodes.Homes() {
		r.others[home], r.ranks[home] = cfg.othersOf(home), slices.Repeat([]int16{noRank}, cfg.Nodes)
		for rank, node := range r.others[home] {
			r.ranks[home][node] = int16(rank)
		}
		n = max(n, len(r.others[home]))
	}
	r.byRank = make([]atomic.Pointer[cpuSheaves], n)
}

// RemoteSlots returns the stacks for objects of the node at the given index of each node's
// Config.Others, for a caller with Slots: the objects that these refuse may go there by a sequence,
// too. ok is false if no node's Others reach there, or there is no memory for more stacks. The
// stacks are the Set's, and stay as long as it does.
func (s *Set) RemoteSlots(rank int) (slots Slots, ok bool) {
	if rank >= len(s.byRank) {
		return Slots{}, false
	}
	c := s.makeRank(rank)
	if c == nil {
		return Slots{}, false
	}
	return Slots(c.slots), true
}

// newRank makes the sheaves of a rank, which are unused.
func (s *Set) newRank(rank int, slots percpu.Slots) *cpuSheaves {
	c := new(cpuSheaves)
	c.init(s, slots)
	c.isRemote, c.rank = true, rank
	return c
}

// Rank returns where the node with the given index is in Config.Others of the calling CPU's node:
// the rank of the RemoteSlots for its objects. It is OwnNode for the CPU's own node, and larger
// than every rank for a node that is not there.
func (s *Set) Rank(node int) int {
	home := s.homes.Index(percpu.CPU())
	if home == node {
		return OwnNode
	}
	if rank := s.ranks[home][node]; rank != noRank {
		return int(rank)
	}
	return math.MaxInt
}

// OwnNode is the Rank of the calling CPU's own node.
const OwnNode = -1

// sheavesFor returns the sheaves in which the calling CPU keeps objects of a node, or nil. The
// caller may be on another CPU when it uses them, and finds out by the owner word.
func (s *Set) sheavesFor(node int) *cpuSheaves {
	if len(s.barns) == 1 {
		return &s.cpuSheaves
	}
	home := s.homes.Index(percpu.CPU())
	if home == node {
		return &s.cpuSheaves
	}
	rank := s.ranks[home][node]
	if rank == noRank {
		return nil
	}
	if c := s.byRank[rank].Load(); c != nil {
		return c
	}
	return s.makeRank(int(rank))
}

// makeRank makes the sheaves of a rank, unless another goroutine has. It returns nil if there is no
// memory or the Set is closed.
func (s *Set) makeRank(rank int) *cpuSheaves {
	s.making.Lock()
	defer s.making.Unlock()
	if c := s.byRank[rank].Load(); c != nil || s.closed.Load() {
		return c
	}
	slots, err := percpu.NewSlots()
	if err != nil {
		return nil
	}
	c := s.newRank(rank, slots)
	s.byRank[rank].Store(c)
	return c
}

// all calls f with the sheaves of the CPUs' own nodes, and with those of each rank that is made.
// CloseContext has no rank made any more when it calls this.
func (s *Set) all(f func(c *cpuSheaves)) {
	f(&s.cpuSheaves)
	for rank := range s.byRank {
		if c := s.byRank[rank].Load(); c != nil {
			f(c)
		}
	}
}

// freeSlots frees the stacks, which are closed.
func (r *remote) freeSlots(s *Set) {
	for rank := range r.byRank {
		if c := r.byRank[rank].Load(); c != nil {
			_ = c.slots.Free()
			runtime.AddCleanup(s, percpu.Slots.Recycle, c.slots)
		}
	}
}

// Unpop gives an object to the Source that a sequence of the caller's has popped, and that is not
// of the node that it wanted. The pop doesn't count. remote says that the stack was one of
// RemoteSlots. Any goroutine.
func (s *Set) Unpop(obj unsafe.Pointer, remote bool) {
	s.count(unpops, 1)
	if remote {
		s.count(remoteUnpops, 1)
	}
	s.flush([]unsafe.Pointer{obj})
}

// FreeBulkRemote puts objects of other nodes than the calling CPU's into its sheaves for them, and
// returns those that it didn't take, which it has moved to the front of objs. counted says whether
// they count as freed, as for FreeBulk and PutBulk. Like these it does not flush, and it
// allocates the first sheaf of a stack only.
func (s *Set) FreeBulkRemote(objs []unsafe.Pointer, counted bool) (rest []unsafe.Pointer) {
	left := 0
	for i := 0; i < len(objs); {
		node := s.nodeOf(objs[i])
		j := i + 1
		for j < len(objs) && s.nodeOf(objs[j]) == node {
			j++
		}
		put := 0
		if c := s.sheavesFor(node); c != nil {
			put = c.pushBulk(objs[i:j], node, counted)
		}
		left += copy(objs[left:], objs[i+put:j])
		i = j
	}
	return objs[:left]
}
