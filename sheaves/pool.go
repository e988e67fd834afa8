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

// A pool makes and keeps the sheaf structures of one Set. It maps memory in
// chunks and gives it back as a whole, once the Set is closed and every sheaf is
// home: an operation that Close overtook may still hold one.
type pool struct {
	mu     sync.Mutex
	free   list
	chunks []uintptr // addresses of chunkSize bytes each
	next   uintptr   // first byte not carved yet in the last chunk
	limit  int       // capacity of the sheaves, objects
	made   int       // sheaves carved
	closed bool
}

// errClosed is what a pool answers after close: an operation came too late.
var errClosed = errors.New("sheaves: the set is closed")

// get returns an empty sheaf, or the error of the mapping it would have needed.
func (p *pool) get() (*sheaf, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errClosed
	}
	s := p.free.pop()
	if s == nil {
		var err error
		if s, err = p.carve(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (p *pool) carve() (*sheaf, error) {
	size := mem.AlignUp(sheafBytes(p.limit), headerSize)
	if n := len(p.chunks); n == 0 || p.next+size > p.chunks[n-1]+p.chunkBytes() {
		chunk, err := percpu.Reserve(p.chunkBytes())
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
	return max(chunkSize, mem.AlignUp(sheafBytes(p.limit), mem.PageSize))
}

// put takes an empty sheaf back.
func (p *pool) put(s *sheaf) {
	if invariants.Enabled {
		invariants.Check(s.size == 0, "a sheaf is given up with %d objects", s.size)
	}
	p.mu.Lock()
	p.free.push(s)
	p.releaseLocked()
	p.mu.Unlock()
}

// close unmaps everything as soon as no sheaf is out.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.releaseLocked()
	p.mu.Unlock()
}

func (p *pool) releaseLocked() {
	if p.closed && p.free.n == p.made {
		p.unmap()
	}
}

// unmap gives the memory back, that of sheaves that are out included.
func (p *pool) unmap() {
	for _, chunk := range p.chunks {
		// Refused only for addresses that were never mapped.
		_ = percpu.Unreserve(chunk, p.chunkBytes())
	}
	p.chunks, p.free, p.made = nil, list{}, 0
}
