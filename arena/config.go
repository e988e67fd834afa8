package arena

import (
	"fmt"
	"log/slog"
	"math"
	"math/bits"
	"time"

	"github.com/slubd/slubd/internal/configerr"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/text"
	"github.com/slubd/slubd/numa"
)

// Values that every bound in a config of this module can have beside a number. 0 always means
// automatic: the module chooses, and the field's comment says what.
const (
	// None means that there shall be no such thing: none is kept, nothing is done.
	None = -1
	// Unlimited means that there is no bound.
	Unlimited = 1<<63 - 1
)

const (
	// MaxOrder is the order of the largest run: 4 MiB, two huge pages, the kernel's MAX_PAGE_ORDER.
	// Base is aligned to it.
	MaxOrder = 10

	maxRun    = mem.PageSize << MaxOrder // bytes of the largest run
	spanFloor = 64 << 20                 // New halves a refused reservation, but not below this
)

// HugeMode says what to ask of transparent huge pages.
type HugeMode uint8

const (
	// HugeDefault is HugeSystem, until pages go back to the kernel that are less than a huge page:
	// from then on the pages that were in use by then stay small once they are. Huge pages that are
	// there stay huge, and memory that is used for the first time later may be.
	HugeDefault HugeMode = iota
	// HugeAlways asks for huge pages: fewer TLB misses, but touching one page may make 2 MiB
	// resident, which no figure here counts. Discarding a freed run splits the huge page that the
	// run lay in, and the kernel may make it whole again later, with memory that Decay or Purge has
	// given back (khugepaged).
	HugeAlways
	// HugeNever keeps every page small, so that only what was handed out can be resident.
	HugeNever
	// HugeSystem leaves huge pages to the machine's setting
	// (/sys/kernel/mm/transparent_hugepage/enabled). Where that is "always" it is as HugeAlways.
	HugeSystem
)

// Config says how an arena is made. The zero value is good for a daemon. In every field 0 means
// automatic. Sizes are bytes.
type Config struct {
	// Name appears in errors and statistics. Empty is automatic: "arena". If an open arena has the
	// name, New adds a number to it.
	Name string
	// Limit bounds the bytes that may be resident: allocated runs and mappings, and freed ones not
	// yet discarded. At least a page, Unlimited or FollowMemory. 0 is automatic: FollowMemory for
	// the default arena, Unlimited for others.
	Limit int64
	// NodeLimit bounds the bytes that may be resident in the memory of each node, counted as for
	// Limit. At its bound a node counts as full: allocations that may come from any node take from
	// the next one, AllocNode and the like fail with ErrNodeLimit after what caches keep was given
	// back. So the arena's own use fills no node so far that the kernel must kill a process (under
	// Strict) or use another node's memory (otherwise). Each arena of a process
	// has limits of its own, and does not know what other arenas, Go's heap and other processes
	// take. At least a page, or Unlimited. 0 is automatic: the node's memory less a tenth, or
	// less 32 MiB of a node below 320 MiB, and a quarter below 128 MiB; Unlimited where the
	// topology doesn't tell that. SetNodeLimit changes it for one node.
	NodeLimit int64
	// Span is the address space reserved for each node. A number is rounded up to a power of two of
	// at least 4 MiB, and halved until all nodes fit into 16 TiB. 0 is automatic: for each node
	// about twice its own memory, and at least 1 GiB (race builds: 64 MiB); where that exceeds 16
	// TiB in all, each node gets less in proportion. New halves either until the kernel agrees.
	Span int64
	// MaxDirty bounds the bytes of freed runs and mappings that stay resident for reuse; Free and
	// Unmap discard the excess. 0 is automatic: 1/8 of the bytes allocated, at least 16 MiB. None
	// keeps none, Unlimited all.
	MaxDirty int64
	// Decay is how long freed runs and mappings stay resident that nothing needs. Of runs, the
	// least number of bytes that were free at any instant of that time is given back in the
	// background, the longest free first, and each mapping that was free all that time, at most an
	// eighth of Decay late. At least 8 ms, shorter ones count as that. 0 is automatic: 5 s. None
	// gives nothing back in the background. No timer runs while nothing freed is resident.
	Decay time.Duration
	// ReleaseRate bounds what Decay gives back, in bytes per second; a burst may be 1/20 of it and
	// a run more. It bounds neither Purge nor what Free, Unmap, Alloc and Map discard. 0 is
	// automatic: 256 MiB. Unlimited has no bound. None is an error: Decay says it.
	ReleaseRate int64
	// Topology gives the nodes. nil is automatic: numa.System().
	Topology *numa.Topology
	// Strictness says what happens when the kernel refuses a node. Advisory (0) prefers each node
	// for its part of the range and goes on when the kernel refuses; Stats tells. Strict binds:
	// where other users have filled a node, the kernel kills a process rather than use another
	// node's page, and a refusal fails New; but the parts of nodes that the process' cpuset
	// excludes are only of no use (ErrExcluded). Off lets the first touch decide. If the process
	// was bound to some nodes (numactl --membind), the others count as nodes without memory, unless
	// Strictness is Off. Other policies of the process, such as numactl --interleave, don't reach
	// the arena.
	Strictness numa.Strictness
	// Observe is how often the kernel is asked where pages lie, in the background, while the arena
	// has pages and there is more than one node with memory: Stats, metrics and AllocNode's errors
	// tell. While nothing changes, the time grows to 16 times of it. A run asks about 64 pages of
	// each node by move_pages(2) or, where that is refused, reads /proc/self/numa_maps. Only with
	// move_pages are pages on the wrong node, which they get while theirs is full, moved once it
	// has room again, and freed ones discarded, unless Lock is set. All of that takes at most a
	// twentieth of one CPU's time. At least 1 ms. 0 is automatic: 1 s. None asks in New only. With
	// numa.Off nothing is asked.
	Observe time.Duration
	// Policy says where memory comes from: numa.Local (0) from the node of the CPU that allocates,
	// or whatever node is asked for. The others spread all memory of the arena in one way, for data
	// that CPUs of all nodes use: Interleave takes pages from nodes in turn, WeightedInterleave in
	// proportion to the machine's weights (/sys/kernel/mm/mempolicy/weighted_interleave), Preferred
	// from nodes while they have some. All of them take from other nodes what theirs have no room
	// for. With huge pages, 2 MiB come from a node at a time. An address doesn't tell its node:
	// AllocNode and the like fail with ErrPlacement, unless there is one node with memory, and
	// NodeLimit holds for the sum of all. The kernel has WeightedInterleave since Linux 6.9 and
	// Preferred of several nodes since 5.15; before, the arena has Interleave and the first of the
	// nodes, as Stats says, and under Strict New fails. Bind is no policy here, see Strictness.
	Policy numa.Mode
	// PolicyNodes are the nodes of a Policy other than Local. None is automatic: all nodes with
	// memory, but Preferred needs some.
	PolicyNodes []numa.Node
	// Logger is told where the host gives less than was asked for: a topology that is assumed,
	// facts that sysfs and the processor don't agree on, pages that the kernel won't place, no
	// notices of memory pressure, and by package slub an engine other than rseq. A logger is told
	// each of them once, as a warning, and each arena whose limit is FollowMemory once, as
	// information. Its handler must not allocate from the arena. nil logs nothing. SetLogger
	// changes it, also for the default arena.
	Logger *slog.Logger
	// HugePages is advice on memory of the arena. A kernel without huge pages refuses it, which is
	// not an error. 0 is HugeDefault.
	HugePages HugeMode
	// Populate makes Alloc fault a run's pages in, so that the first touches of its owner don't: by
	// madvise, or by touching them where the kernel has no such advice (before Linux 5.14, gVisor).
	// Where memory runs out, Alloc fails with ErrCommit.
	Populate bool
	// Lock makes Alloc and Map lock (mlock) pages in memory, which populates them. No run is then
	// given back before Close, so that Limit bounds the peak. Both fail with ErrCommit above
	// RLIMIT_MEMLOCK, unless the process has CAP_IPC_LOCK.
	Lock bool

	bySize bool // Span is automatic, and follows each node's memory

	// Tests replace these.
	kernelPage int         // bytes of the kernel's page; 0: ask the kernel
	watch      *watch      // nil: processWatch
	kernelView *kernelView // nil: kernel
}

// Validate reports all problems at once, each wrapping ErrConfig.
func (c Config) Validate() error {
	p := configerr.Problems{Prefix: fmt.Sprintf("arena: arena %q: Config.", c.name()), Kind: ErrConfig}
	if c.Limit != 0 && c.Limit != FollowMemory && c.Limit < mem.PageSize {
		p.Add("Limit", "%s, no page", text.Count(c.Limit, "byte", "bytes"))
	}
	if c.NodeLimit != 0 && c.NodeLimit < mem.PageSize {
		p.Add("NodeLimit", "%s, no page", text.Count(c.NodeLimit, "byte", "bytes"))
	}
	nodes := 1
	if c.Topology != nil {
		nodes = c.Topology.NodeCount()
	}
	if nodes == 0 {
		p.Add("Topology", "no nodes")
	}
	p.Within("Span", c.Span, 0, maxRange/int64(max(nodes, 1)))
	p.Within("MaxDirty", c.MaxDirty, None, Unlimited)
	p.Within("Decay", int64(c.Decay), None, Unlimited)
	if c.ReleaseRate < 0 {
		p.Add("ReleaseRate", "%d is negative; Decay: None gives nothing back", c.ReleaseRate)
	}
	if c.Observe > 0 && c.Observe < time.Millisecond {
		p.Add("Observe", "%v is less than 1ms", c.Observe)
	}
	p.Within("Observe", int64(c.Observe), None, Unlimited)
	p.Within("Strictness", int64(c.Strictness), 0, int64(numa.Off))
	c.validatePolicy(&p)
	p.Within("HugePages", int64(c.HugePages), 0, int64(HugeSystem))
	return p.Err()
}

// name is what New calls the arena, unless an open one has that name.
func (c Config) name() string {
	if c.Name == "" {
		return "arena"
	}
	return c.Name
}

// maxRange is what page numbers of 32 bits reach, less one number that means "none".
const maxRange = math.MaxUint32 * mem.PageSize

func (c Config) withDefaults() Config {
	c.Name = c.name()
	if c.Limit == 0 {
		c.Limit = Unlimited
	}
	if c.Topology == nil {
		c.Topology = numa.System()
	}
	if c.watch == nil {
		c.watch = processWatch
	}
	if c.kernelView == nil {
		c.kernelView = &kernel
	}
	if c.Observe == 0 {
		c.Observe = defaultObserve
	}
	if c.Decay == 0 {
		c.Decay = defaultDecay
	}
	if c.ReleaseRate == 0 {
		c.ReleaseRate = defaultReleaseRate
	}
	if c.Span == 0 {
		c.Span = defaultSpan(c.Topology)
		c.bySize = !heapBacked && c.Topology.NodeCount() > 1
	}
	c.Span = ceilPow2(min(max(c.Span, maxRun), maxSpan))
	for c.Span > maxRange/int64(c.Topology.NodeCount()) {
		c.Span /= 2
	}
	return c
}

// memorySpan is twice the largest node's memory, since fragmentation may waste part of the range,
// which costs nothing but addresses. Where no node's memory is known, it assumes 32 GiB.
func memorySpan(t *numa.Topology) int64 {
	var most int64
	for _, n := range t.Nodes() {
		total, _ := t.Memory(n)
		most = max(most, total)
	}
	if most == 0 {
		most = 32 << 30
	}
	return max(2*min(most, maxRange), 1<<30)
}

// ceilPow2 rounds up to a power of two. Preconditions: 0 < n <= 1<<62.
func ceilPow2(n int64) int64 { return 1 << bits.Len64(uint64(n-1)) }
