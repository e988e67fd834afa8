package sheaves

import (
	"errors"
	"fmt"
	"sync"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/percpu"
)

// chunkSize is how many bytes of sheaves a pool maps at once: 128 of the largest
// automatic capacity, which is what ten CPUs and a well-filled barn hold.
const chunkSize = 64 << 10

// A pool makes and keeps the sheaf structures of one capacity. It maps memory in
// chunks and gives it back as a whole, while no sheaf is out. Its pools' mutex
// guards it.
type pool struct {
	free   list
	chunks []uintptr // addresses of chunkSize bytes each
	next   uintptr   // first byte not carved yet in the last chunk
	limit  int       // capacity of the sheaves, objects
	made   int       // sheaves carved
}

// pools are the pools of one Set: that of the capacity in use, and of each earlier
// one until its last sheaf is home. An operation that Close or SetCapacity overtook
// may still hold one.
type pools struct {
	mu     sync.Mutex
	of     map[int]*pool // by capacity
	keep   int           // the capacity whose pool stays although nothing is out
	closed bool
}

// errClosed is what pools answer after close: an operation came too late.
var errClosed = errors.New("sheaves: the set is closed")

// get returns an empty sheaf for so many objects, or the error of the mapping it
// would have needed.
func (p *pools) get(capacity int) (*sheaf, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errClosed
	}
	from := p.of[capacity]
	if from == nil {
		from = &pool{limit: capacity}
	}
	s := from.free.pop()
	if s == nil {
		var err error
		if s, err = from.carve(); err != nil {
			return nil, err
		}
	}
	p.of[capacity] = from
	return s, nil
}

// put takes an empty sheaf back.
func (p *pools) put(s *sheaf) {
	if invariants.Enabled {
		invariants.Check(s.size == 0, "a sheaf is given up with %d objects", s.size)
	}
	p.mu.Lock()
	home := p.of[int(s.limit)]
	home.free.push(s)
	p.releaseLocked(home)
	p.mu.Unlock()
}

// retain makes capacity the one whose pool stays. The others go as their sheaves come
// home; those that wait for nobody go now.
func (p *pools) retain(capacity int) {
	p.mu.Lock()
	p.keep = capacity
	for _, old := range p.of {
		p.releaseLocked(old)
	}
	p.mu.Unlock()
}

// close gives everything back as soon as no sheaf is out.
func (p *pools) close() {
	p.mu.Lock()
	p.closed = true
	for _, old := range p.of {
		p.releaseLocked(old)
	}
	p.mu.Unlock()
}

func (p *pools) releaseLocked(old *pool) {
	if (p.closed || old.limit != p.keep) && old.free.n == old.made {
		old.retire()
		delete(p.of, old.limit)
	}
}

func (p *pool) carve() (*sheaf, error) {
	size := mem.AlignUp(sizeOf(p.limit), headerSize)
	if n := len(p.chunks); n == 0 || p.next+size > p.chunks[n-1]+p.chunkBytes() {
		chunk, err := percpu.ReserveArrays(p.chunkBytes())
		if err != nil {
			return nil, fmt.Errorf("sheaf: %w", err)
		}
		p.chunks, p.next = append(p.chunks, chunk), chunk
	}
	s := sheafOf(p.next)
	p.next += size
	p.made++
	s.limit = uint32(p.limit)
	return s, nil
}

// chunkBytes lets a chunk hold at least one sheaf, however large.
func (p *pool) chunkBytes() uintptr {
	return max(chunkSize, mem.AlignUp(sizeOf(p.limit), mem.PageSize))
}

// retire gives the memory back.
func (p *pool) retire() {
	for _, chunk := range p.chunks {
		percpu.RetireArrays(chunk, p.chunkBytes())
	}
	p.chunks, p.free, p.made = nil, list{}, 0
}
