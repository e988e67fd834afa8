package sheaves

import (
	"fmt"
	"sync"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/owner"
	"github.com/slubd/slubd/internal/percpu"
)

// chunkSize is how many bytes of sheaves a pool maps at once: 128 sheaves of 60 objects, which is
// what ten CPUs and a well-filled barn hold.
const chunkSize = 64 << 10

// A pool makes and keeps the sheaf structures of one capacity. It maps memory in chunks and gives
// all of it back when no sheaf is out. The mutex of its pools guards it.
//
// Each node's CPUs have chunks of their own. They touch these first, and so the kernel takes the
// pages from their node. No page has sheaves of two nodes, and no cache line those of two CPUs.
type pool struct {
	nodes  []nodeChunks // by node of the CPU that a sheaf was made for
	chunks []uintptr    // addresses of chunkSize bytes each, of all nodes
	limit  int          // capacity of the sheaves, objects
	made   int          // sheaves carved
	free   int          // sheaves in all free lists
}

// maxHomes is how many nodes have chunks of their own: as many as a sheaf's header tells apart, and
// as owner words do.
const maxHomes = 1 << owner.NodeBits

// nodeChunks are a pool's sheaves of one node.
type nodeChunks struct {
	free      list
	next, end uintptr // what is left of the last chunk
}

// pools are the pools of one Set: that of the capacity in use, and of each earlier one until its
// last sheaf is back. An operation that was running when the capacity changed, or when the Set was
// closed, may still hold a sheaf.
type pools struct {
	mu     sync.Mutex
	nodes  int
	of     map[int]*pool // by capacity
	keep   int           // the capacity whose pool stays even if no sheaf is out
	closed bool
}

// get returns an empty sheaf of the given capacity for a CPU of a node. Errors: ErrClosed; that of
// a mapping that the kernel refused.
func (p *pools) get(capacity, node int) (*sheaf, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed
	}
	from := p.of[capacity]
	if from == nil {
		from = p.newPool(capacity)
	}
	s := from.nodes[node].free.pop()
	if s != nil {
		from.free--
	} else {
		var err error
		if s, err = from.carve(node); err != nil {
			return nil, err
		}
	}
	p.of[capacity] = from
	return s, nil
}

func (p *pools) newPool(capacity int) *pool {
	return &pool{limit: capacity, nodes: make([]nodeChunks, p.nodes)}
}

// reserve maps memory for the first sheaves of a capacity on node 0, which takes none before its
// first use. The error is that of a mapping that the kernel refused.
func (p *pools) reserve(capacity int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	first := p.newPool(capacity)
	err := first.grow(0)
	if err == nil {
		p.of[capacity] = first
	}
	return err
}

// put takes an empty sheaf back.
func (p *pools) put(s *sheaf) {
	if invariants.Enabled {
		invariants.Check(s.size == 0, "a sheaf with %d objects goes to its pool", s.size)
	}
	p.mu.Lock()
	home := p.of[int(s.limit)]
	home.nodes[s.home].free.push(s)
	home.free++
	p.releaseLocked(home)
	p.mu.Unlock()
}

// retain makes capacity the one whose pool stays. The others are freed when their last sheaf is
// back, which may be now.
func (p *pools) retain(capacity int) {
	p.mu.Lock()
	p.keep = capacity
	for _, old := range p.of {
		p.releaseLocked(old)
	}
	p.mu.Unlock()
}

// close frees every pool as soon as none of its sheaves is out.
func (p *pools) close() {
	p.mu.Lock()
	p.closed = true
	for _, old := range p.of {
		p.releaseLocked(old)
	}
	p.mu.Unlock()
}

// releaseLocked frees a pool that has all its sheaves back and need not stay. The caller holds mu.
func (p *pools) releaseLocked(old *pool) {
	if (p.closed || old.limit != p.keep) && old.free == old.made {
		old.returnChunks()
		delete(p.of, old.limit)
	}
}

// carve makes a sheaf for a CPU of a node. The error is that of a refused mapping.
func (p *pool) carve(node int) (*sheaf, error) {
	n, size := &p.nodes[node], p.sheafBytes()
	if n.next+size > n.end {
		if err := p.grow(node); err != nil {
			return nil, err
		}
	}
	s := sheafOf(n.next)
	n.next += size
	p.made++
	s.limit, s.home = uint32(p.limit), uint8(node)
	return s, nil
}

// sheafBytes is the distance from one sheaf to the next.
func (p *pool) sheafBytes() uintptr { return mem.AlignUp(sizeOf(p.limit), mem.CacheLine) }

// grow maps another chunk for a node. The error is that of a refused mapping.
func (p *pool) grow(node int) error {
	chunk, err := percpu.ReserveArrays(p.chunkBytes())
	if err != nil {
		return fmt.Errorf("sheaf: %w", err)
	}
	p.chunks = append(p.chunks, chunk)
	p.nodes[node].next, p.nodes[node].end = chunk, chunk+p.chunkBytes()
	return nil
}

// chunkBytes lets a chunk hold at least one sheaf, however large.
func (p *pool) chunkBytes() uintptr {
	return max(chunkSize, mem.AlignUp(p.sheafBytes(), mem.PageSize))
}

// returnChunks gives the memory back. Its addresses stay mapped; see percpu.ReturnArrays.
func (p *pool) returnChunks() {
	for _, chunk := range p.chunks {
		percpu.ReturnArrays(chunk, p.chunkBytes())
	}
	p.chunks, p.free, p.made = nil, 0, 0
	clear(p.nodes)
}
