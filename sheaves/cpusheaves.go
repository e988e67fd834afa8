package sheaves

import (
	"runtime"
	"unsafe"

	"github.com/slubd/slubd/internal/owner"
	"github.com/slubd/slubd/internal/percpu"
)

// cpuSheaves are stacks for every CPU, each for the objects of one node: a main sheaf with its
// spare, and an rcu_free sheaf. A Set's first ones hold the objects of the CPU's own node (kernel:
// struct slub_percpu_sheaves). The others are those of remote.
//
// An unused stack has owner word 0 and capacity 0, which refuses every operation, and is what a
// closed stack looks like, too. A stack of remote is unused until install.
type cpuSheaves struct {
	set      *Set
	slots    percpu.Slots
	lastTick []uint64  // by CPU: which rcu_free the last tick saw; 0 none; under Set.ticking
	idleCPUs []idleCPU // by CPU; under Set.flushing
	isRemote bool      // the objects are those of other nodes than the CPU's
	rank     int       // of remote
}

func (c *cpuSheaves) init(s *Set, slots percpu.Slots) {
	*c = cpuSheaves{set: s, slots: slots,
		lastTick: make([]uint64, percpu.NumCPU()), idleCPUs: make([]idleCPU, percpu.NumCPU())}
}

// noNode is what node returns for a CPU whose node has fewer other nodes than another CPU's.
const noNode = -1

// node returns the index of the node whose objects a CPU's stack is for, or noNode. It is that of
// the stack's owner word, if it has one: a stack gets none before its CPU's node is known.
func (c *cpuSheaves) node(cpu int) int {
	home := c.set.homes.Index(cpu)
	if !c.isRemote {
		return home
	}
	if others := c.set.others[home]; c.rank < len(others) {
		return others[c.rank]
	}
	return noNode
}

// unlock unlocks a stack where that may be the last that its caller does with the Set: a late
// operation on a closed Set needs it until then, since the stack is used again when nothing refers
// to the Set.
func (c *cpuSheaves) unlock(st *percpu.Stack) {
	st.Unlock()
	runtime.KeepAlive(c)
}

// barnOf returns the barn of the node whose objects a CPU's stack holds, and the node's index.
func (c *cpuSheaves) barnOf(cpu int) (*barn, int) {
	if f := c.set.onBarnOf; f != nil {
		c.set.onBarnOf = nil
		f()
	}
	node := c.node(cpu)
	return &c.set.barns[node], node
}

// unused reports whether a CPU's stack of kind k has never been used, or not since it was emptied
// by uninstall, and is not locked. It takes no lock, and an operation may install a sheaf at any
// time.
func (c *cpuSheaves) unused(cpu int, k percpu.Kind) bool {
	return c.isRemote && c.slots.Stack(cpu, k).Unused()
}

// install gives an unused stack of the calling CPU a sheaf for objects of the given node, and
// returns the stack locked. It returns nil without the lock if there is no memory, the CPU is not
// one whose stack is for that node, or the Set is closed.
//
// No sheaf of an older capacity may stay here. SetCapacity takes the lock of every stack with a
// mark, and install compares with the capacity under that lock; see resizeCPU. Close and install
// are ordered by the CPU's mark, see first.go.
func (c *cpuSheaves) install(node int) *percpu.Stack {
	s := c.set
	sh, err := s.newSheaf(s.Capacity())
	if err != nil {
		return nil
	}
	st, cpu := c.slots.TryLock(percpu.Main)
	if st == nil {
		s.freeSheaf(sh)
		return nil
	}
	switch own := s.owners[node]; {
	case st.Own() == own: // another goroutine was faster
		s.unlockAndFree(st, sh)
		return c.lockFor(own)
	case c.mayInstall(st, cpu, node) && !s.staleCapacity(sh):
		install(st, sh, own)
		s.armSample(st)
		return st
	}
	s.unlockAndFree(st, sh)
	return nil
}

// mayInstall reports whether a locked stack of a CPU is unused and may become one for objects of
// the given node.
func (c *cpuSheaves) mayInstall(st *percpu.Stack, cpu, node int) bool {
	if !c.isRemote || st.Own() != 0 || !c.set.homes.Known(cpu) || c.node(cpu) != node {
		return false
	}
	return !c.set.closed.Load()
}

func (s *Set) unlockAndFree(st *percpu.Stack, sh *sheaf) {
	st.Unlock()
	s.freeSheaf(sh)
}

// lockFor locks the calling CPU's main stack if it holds objects of owner own, or returns nil. A
// CPU of another node has another owner word, so that a migration is noticed here.
func (c *cpuSheaves) lockFor(own owner.Word) *percpu.Stack {
	st, _ := c.slots.TryLock(percpu.Main)
	if st != nil && st.Own() != own {
		c.unlock(st)
		return nil
	}
	return st
}

// uninstall makes a locked stack an unused one, and returns the sheaves that were in it, which may
// be nil.
func (c *cpuSheaves) uninstall(st *percpu.Stack) (main, spare *sheaf) {
	if main, spare = sheafOf(st.Sheaf), sheafOf(st.Spare); main != nil {
		detachMain(st)
	}
	st.Install(0, 0, 0, 0)
	st.Sheaf = 0
	setSpare(st, nil)
	return main, spare
}

// allocNode takes an object of the given node, or returns nil. The top object may lie on another
// node: a refill that was not strict has filled the sheaf for a CPU of the node, which has put it
// into the barn. With sample an allocation that is picked gets its weight instead of an object.
func (c *cpuSheaves) allocNode(node int, sample bool) (p unsafe.Pointer, weight float64) {
	st := c.lockNonEmpty(node)
	if st == nil {
		return nil, 0
	}
	defer c.unlock(st)
	if c.set.nodeOf(st.Objects()[st.Size()-1]) != node {
		if !c.isRemote { // otherwise it is counted already
			c.set.count(AllocNodeMismatch, 1)
		}
		return nil, 0
	}
	if sample && !st.Due() {
		c.set.renew(st)
	}
	if st.Due() {
		if weight = c.set.rearm(st); weight > 0 && sample {
			return nil, weight
		}
	}
	return st.Pop(), 0
}
