package arena

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"time"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/text"
	"github.com/slubd/slubd/numa"
)

const (
	// MaxOrder is the order of the largest run: 4 MiB, two huge pages, the
	// kernel's MAX_PAGE_ORDER. Base is aligned to it.
	MaxOrder = 10

	maxRun    = mem.PageSize << MaxOrder // bytes of the largest run
	spanFloor = 64 << 20                 // a refused reservation is halved down to this
)

// HugeMode says what to ask of transparent huge pages.
type HugeMode uint8

const (
	// HugeDefault leaves it to the machine's setting.
	HugeDefault HugeMode = iota
	// HugeAlways asks for huge pages: fewer TLB misses, but touching one page
	// may make 2 MiB resident, which no figure here counts. A freed run that
	// is discarded splits the huge page that it lay in.
	HugeAlways
	// HugeNever keeps every page small, so that resident memory is what was
	// handed out.
	HugeNever
)

// Config says how an arena is made. The zero value is good for a daemon.
type Config struct {
	// Name appears in errors and statistics; empty: "arena".
	Name string
	// Limit bounds the bytes that may be resident: allocated runs and freed
	// ones not yet discarded. 0: none.
	Limit uint64
	// Span is the bytes of address space reserved per node, rounded up to a
	// power of two of at least 4 MiB. 0: twice the largest node's memory, and
	// at least 1 GiB (race builds: 64 MiB). Halved until all nodes fit into
	// 16 TiB and the kernel agrees, see New.
	Span uint64
	// MaxDirty bounds the bytes of freed runs that stay resident for reuse;
	// Free discards the excess. 0: 1/8 of the bytes allocated, at least
	// 16 MiB. 1 keeps none.
	MaxDirty uint64
	// Decay is how long freed runs stay resident that nobody needs: as many
	// bytes as were free at every instant of that time are given back in the
	// background, the longest free first, and at most an eighth of Decay late.
	// At least 8 ms; 0: 5 s; negative: never. Nothing runs while no freed runs
	// are resident.
	Decay time.Duration
	// ReleaseRate bounds what Decay gives back, in bytes per second; a burst
	// may be 1/20 of it and a run more. Purge, Free's excess and Alloc at the
	// limit don't count. 0: 256 MiB.
	ReleaseRate uint64
	// Topology gives the nodes; nil: numa.System().
	Topology *numa.Topology
	// Strictness: Advisory prefers each node for its part of the range and
	// goes on when the kernel refuses (Stats says so); Strict binds, so that
	// a full node means the OOM killer rather than a remote page, and a
	// refusal fails New; Off lets the first touch decide.
	Strictness numa.Strictness
	// HugePages is advice, given once for the whole range; a kernel without
	// huge pages refuses it, which is not an error.
	HugePages HugeMode
	// Populate makes Alloc fault a run's pages in, so that its owner's first
	// touches don't: by madvise, or by touching them where that is unknown
	// (before Linux 5.14, gVisor). Where memory runs out Alloc fails with
	// ErrCommit.
	Populate bool
	// Lock makes Alloc and Map lock (mlock) pages in memory, which populates
	// them: no run is given back before Close, so Limit bounds the peak. They
	// fail with ErrCommit above RLIMIT_MEMLOCK, unless the process has
	// CAP_IPC_LOCK.
	Lock bool

	kernelPage int // bytes of the kernel's page; 0: ask. Tests lie here.
}

// Validate reports all problems at once, each wrapping ErrConfig.
func (c Config) Validate() error {
	var problems []error
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			problems = append(problems, fmt.Errorf("%w: %s", ErrConfig, fmt.Sprintf(format, args...)))
		}
	}
	bad(c.HugePages <= HugeNever, "HugePages is %d", c.HugePages)
	bad(c.Strictness <= numa.Off, "Strictness is %d", c.Strictness)
	bad(c.Limit == 0 || c.Limit >= mem.PageSize, "Limit of %s holds no page", text.Count(c.Limit, "byte", "bytes"))
	nodes := uint64(1)
	if c.Topology != nil {
		nodes = uint64(c.Topology.NodeCount())
	}
	bad(nodes > 0, "Topology has no nodes")
	bad(c.Span <= maxRange/max(nodes, 1), "Span of %d bytes on %d nodes is more than %d bytes", c.Span, nodes, uint64(maxRange))
	return errors.Join(problems...)
}

// maxRange is what page numbers of 32 bits reach, less one that means "none".
const maxRange = math.MaxUint32 * mem.PageSize

func (c Config) withDefaults() Config {
	if c.Name == "" {
		c.Name = "arena"
	}
	if c.Topology == nil {
		c.Topology = numa.System()
	}
	if c.Decay == 0 {
		c.Decay = defaultDecay
	}
	if c.ReleaseRate == 0 {
		c.ReleaseRate = defaultReleaseRate
	}
	if c.Span == 0 {
		c.Span = defaultSpan(c.Topology)
	}
	c.Span = ceilPow2(min(max(c.Span, maxRun), maxSpan))
	for c.Span > maxRange/uint64(c.Topology.NodeCount()) {
		c.Span /= 2
	}
	return c
}

// memorySpan is twice the largest node's memory, for what fragmentation may
// waste of the range, which costs nothing but addresses. Where no node's
// memory is known it serves a machine of 32 GiB.
func memorySpan(t *numa.Topology) uint64 {
	var most uint64
	for _, n := range t.Nodes() {
		total, _ := t.Memory(n)
		most = max(most, total)
	}
	if most == 0 {
		most = 32 << 30
	}
	return max(2*min(most, maxRange), 1<<30)
}

// ceilPow2 rounds up to a power of two. Preconditions: 0 < n <= 1<<63.
func ceilPow2(n uint64) uint64 { return 1 << bits.Len64(n-1) }
