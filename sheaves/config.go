package sheaves

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"sync/atomic"
	"time"

	"github.com/slubd/slubd/internal/backlog"
	"github.com/slubd/slubd/internal/configerr"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/nodemem"
	"github.com/slubd/slubd/internal/owner"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/rcu"
)

// Config says what New makes. Source and Domain are required; 0 is automatic everywhere else.
type Config struct {
	// Source is where objects come from and go to.
	Source Source
	// Domain provides the grace periods of FreeRCU. Readers enter or register with it.
	Domain *rcu.Domain
	// ObjectSize is the size of an object in bytes, for the automatic Capacity, for Backlog and for
	// Range. 0: 8.
	ObjectSize uintptr
	// Capacity of a sheaf in objects, at most 32767. 0: Capacity(ObjectSize, 0). SetCapacity
	// changes it.
	Capacity int
	// Nodes is the number of NUMA nodes, each of which has a barn; their indexes begin with 0. 0:
	// 1.
	Nodes int
	// NodeOfCPU has the index of each CPU's node, by the kernel's number of the CPU. CPUs beyond
	// its end are on node 0.
	NodeOfCPU []int
	// CPUNodes takes the place of NodeOfCPU for a caller that shares what is found out of CPUs that
	// are added while the program runs. nil: NodeOfCPU counts.
	CPUNodes *CPUNodes
	// Range is where all objects lie, if they are cut from one block of memory. Free and FreeRCU
	// are then one restartable sequence each. Without it they take the lock of the CPU's stack.
	Range Range
	// Delay bounds how long an object waits in an rcu_free sheaf that doesn't fill, before its
	// grace period is started. 0: DefaultDelay.
	Delay time.Duration
	// MaxFull and MaxEmpty limit the full and the empty sheaves of a barn. 0: 10, as in the kernel.
	// None keeps none. Both are soft: a sheaf that has nowhere else to go is taken in. SetLimits
	// changes them.
	MaxFull, MaxEmpty int
	// MaxWaiting is how many sheaves a barn lets wait for a CPU to want them. 0: 512. None lets
	// none wait: each is reclaimed as soon as its grace period is over. Where as many objects are
	// allocated as are freed they go round through the grace period and never see a slab; at 60
	// million objects a second and a grace period of a millisecond that takes 1000 sheaves of 60.
	MaxWaiting int
	// Backlog, if not nil, counts ObjectSize bytes for every object that FreeRCU has accepted, and
	// for every place that a CPU's rcu_free keeps for one. The Set is one of its queues until
	// Close.
	Backlog Backlog
	// SampleMean is for a caller of TryAllocSample: the mean number of allocations from one that is
	// picked to the next. Each is picked with the probability 1 - exp(-1/SampleMean). 0: none.
	// SampleScale, if it is not nil, returns a factor of it, at least 1, for the calling CPU at the
	// moment. It is called under a lock, and takes none. SampleEpoch changes after a factor has
	// become smaller: then each CPU draws again, with its next sheaf. It may be nil.
	SampleMean  float64
	SampleScale func() float64
	SampleEpoch *atomic.Uint32
	// Slots are the CPUs' stacks, for a caller whose own operations begin with their sequences.
	// They stay the caller's, to be freed after Close. Zero: New makes them, and Close frees them.
	Slots Slots
	// Others has for each node the indexes of other nodes, those first whose objects the node's
	// CPUs are most likely to free or to ask TryAllocNode for. A CPU keeps no objects of other
	// nodes than these. nil: all others, in turn.
	Others [][]int
	// Owners has a word for each node, from 1 to 1<<30-1, that Slots accept objects of that node
	// by: for a caller with Slots, the owner words of its pages. nil: New chooses.
	Owners []uint32
	// NodeMemory is where the barns lie, each on its node. nil: in Go's heap.
	NodeMemory *NodeMemory
}

// None, for MaxFull, MaxEmpty and MaxWaiting, keeps no sheaf of the kind. It is arena.None, which
// this package can't import.
const None = -1

// Slots are two stacks for every CPU, cells of per-CPU memory. Only package slub makes any, to run
// the stacks' restartable sequences itself; other users of this package leave Config.Slots zero.
type Slots percpu.Slots

// CPUNodes has the index of each CPU's node. The node of a CPU that was not there at the start is
// asked of the kernel when the CPU gets its first sheaf. Only package slub makes any.
type CPUNodes percpu.Nodes

// NodeMemory is memory on each node. Only package slub makes any.
type NodeMemory nodemem.Nodes

// A Range is one block of memory that all objects of a Set are cut from.
type Range struct {
	// Base is the address of the first object. The next ones follow every ObjectSize bytes.
	Base uintptr
	// Bytes is the length of the block, a multiple of 4096. The Set keeps 4 bytes for each 4096.
	Bytes uintptr
}

// DefaultDelay is how long a half-full rcu_free sheaf stays on its CPU. The kernel has no such
// bound. 20 ms is what kfree_rcu's own batching used (KFREE_DRAIN_JIFFIES before 5 s): long
// compared with a grace period, and too short for a user to notice.
const DefaultDelay = 20 * time.Millisecond

const (
	defaultWaiting = 512
	defaultSheaves = 10 // the kernel's MAX_FULL_SHEAVES and MAX_EMPTY_SHEAVES
)

// ErrConfig is wrapped by every problem that New finds in a Config, and by the errors of
// SetCapacity and SetLimits for numbers out of range.
var ErrConfig = errors.New("sheaves: bad config")

// automatic replaces zeros by what they stand for.
func (c *Config) automatic() {
	c.ObjectSize = orElse(c.ObjectSize, 8)
	c.Nodes = orElse(c.Nodes, 1)
	if c.Capacity == 0 {
		c.Capacity = Capacity(c.ObjectSize, 0)
	}
	c.Delay = orElse(c.Delay, DefaultDelay)
	if c.Backlog == nil {
		c.Backlog = (*backlog.Backlog)(nil) // counts nothing
	}
}

// orElse returns n, or otherwise if n is 0.
func orElse[T int | uintptr | time.Duration](n, otherwise T) T {
	if n == 0 {
		return otherwise
	}
	return n
}

// validate reports every problem of an automatic Config at once.
func (c *Config) validate() error {
	p := problems()
	if c.Source == nil {
		p.Add("Source", "nil")
	}
	if c.Domain == nil {
		p.Add("Domain", "nil")
	}
	if c.Delay < 0 {
		p.Add("Delay", "%v is negative", c.Delay)
	}
	if c.CPUNodes != nil {
		for _, node := range c.cpuNodes().Homes() {
			p.Within("CPUNodes", int64(node), 0, int64(c.Nodes)-1)
		}
	}
	for cpu, node := range c.NodeOfCPU {
		p.Within(fmt.Sprintf("NodeOfCPU[%d]", cpu), int64(node), 0, int64(c.Nodes)-1)
	}
	if c.Owners != nil && len(c.Owners) != c.Nodes {
		p.Add("Owners", "%d words for %d nodes", len(c.Owners), c.Nodes)
	}
	for node, word := range c.Owners {
		if word == 0 || word > owner.Max {
			p.Add(fmt.Sprintf("Owners[%d]", node), "%#x is not within 1..%#x", word, owner.Max)
		}
	}
	if c.Range != (Range{}) {
		// The sequence finds out by one multiplication whether an object starts at an address.
		overflow, _ := bits.Mul64(uint64(c.Range.Bytes), uint64(c.ObjectSize))
		if c.Range.Bytes < c.ObjectSize || c.Range.Bytes%mem.PageSize != 0 || c.Range.Base+c.Range.Bytes < c.Range.Base || overflow > 0 {
			p.Add("Range", "%d bytes at %#x for objects of %d", c.Range.Bytes, c.Range.Base, c.ObjectSize)
		}
	}
	p.Within("Nodes", int64(c.Nodes), 1, maxNodes)
	c.validateOthers(&p)
	p.Within("Capacity", int64(c.Capacity), 1, percpu.MaxCap)
	checkLimit(&p, "MaxFull", c.MaxFull)
	checkLimit(&p, "MaxEmpty", c.MaxEmpty)
	checkLimit(&p, "MaxWaiting", c.MaxWaiting)
	if !(c.SampleMean >= 0 && c.SampleMean <= math.MaxInt64) {
		p.Add("SampleMean", "%v is not within 0..2^63", c.SampleMean)
	}
	return p.Err()
}

// validateOthers reports what is wrong with Others.
func (c *Config) validateOthers(p *configerr.Problems) {
	if c.Others != nil && len(c.Others) != c.Nodes {
		p.Add("Others", "for %d of %d nodes", len(c.Others), c.Nodes)
	}
	for home, others := range c.Others {
		for rank, node := range others {
			if node < 0 || node >= c.Nodes || node == home || slices.Contains(others[:rank], node) {
				p.Add(fmt.Sprintf("Others[%d][%d]", home, rank), "%d is no further node", node)
			}
		}
	}
}

// othersOf returns Others of a node, or all other nodes in turn.
func (c *Config) othersOf(home int) (others []int) {
	if c.Others != nil {
		return c.Others[home]
	}
	for i := 1; i < c.Nodes; i++ {
		others = append(others, (home+i)%c.Nodes)
	}
	return others
}

// problems gathers what is wrong with a Config or with arguments of the same names.
func problems() configerr.Problems {
	return configerr.Problems{Prefix: ErrConfig.Error() + ": ", Kind: ErrConfig}
}

// checkLimit checks a number of sheaves that a barn keeps.
func checkLimit(p *configerr.Problems, field string, n int) {
	p.Within(field, int64(n), None, math.MaxInt32)
}

// maxNodes is how many nodes an index in a sheaf's header can tell apart.
const maxNodes = math.MaxUint16 + 1

// cpuNodes returns CPUNodes, or those that NodeOfCPU stands for.
func (c *Config) cpuNodes() *percpu.Nodes {
	if c.CPUNodes != nil {
		return (*percpu.Nodes)(c.CPUNodes)
	}
	return percpu.NewNodes(c.NodeOfCPU, nil, 0)
}

// owners returns Owners, or words that the Set chooses.
func (c *Config) owners() []owner.Word {
	owners := make([]owner.Word, c.Nodes)
	for node := range owners {
		owners[node] = owner.Word(node + 1) // 0 is the word of closed stacks
		if c.Owners != nil {
			owners[node] = owner.Word(c.Owners[node])
		}
	}
	return owners
}
