package guard

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
)

// Slots is how many objects a pool has room for.
const Slots = sys.GuardSlots

// poolPages is the size of a pool, guard pages included.
const poolPages = sys.GuardPages

// A Pool is described with the package. Any goroutine may call its methods.
type Pool struct {
	arena   *arena.Arena
	node    int
	run     arena.Run
	base    uintptr
	area    *sys.GuardArea
	markers bool // pages are guarded by MADV_GUARD_INSTALL, otherwise by mprotect

	mu     sync.Mutex
	queue  [Slots]uint8 // the n slots that are not in use, from first on, as a ring
	first  int
	n      int
	stacks [Slots]uint64 // hash of the stack that allocated what is in use; 0 for none

	noted  [Slots]atomic.Bool // the object's is in freers; see NoteFree
	freers [Slots]Stack       // stack that has freed the object, or gives it to FreeRCU
}

// newPool makes a pool of a node's pages. All of them are guarded.
func newPool(a *arena.Arena, node int) (*Pool, error) {
	run, err := a.AllocPages(poolPages, node)
	if err != nil {
		return nil, err
	}
	p := &Pool{arena: a, node: node, run: run, base: a.Addr(run.Page), n: Slots, markers: true}
	for i := range p.queue {
		p.queue[i] = uint8(i)
	}
	if err := sys.GuardInstall(p.base, poolPages*mem.PageSize); err != nil {
		p.markers = false
		err = sys.Protect(p.base, poolPages*mem.PageSize, sys.NoAccess)
		if err != nil {
			a.Free(run.Page)
			return nil, err
		}
	}
	if p.area, err = takeArea(p.base); err != nil {
		if p.open(p.base, poolPages*mem.PageSize) == nil {
			a.Free(run.Page)
		}
		return nil, err
	}
	a.Split(run)
	return p, nil
}

// giveBack gives the pool's pages to the arena. No slot is in use. If the kernel does not make the
// pages accessible again, the arena never gets them.
func (p *Pool) giveBack() {
	giveArea(p.area)
	if p.open(p.base, poolPages*mem.PageSize) != nil {
		return
	}
	for page := p.run.Page; page < p.run.Page+poolPages; page++ {
		p.arena.Free(page)
	}
}

// open makes pages accessible, and shut guards them.
func (p *Pool) open(addr, n uintptr) error {
	if p.markers {
		return sys.GuardRemove(addr, n)
	}
	return sys.Protect(addr, n, sys.ReadWrite)
}

func (p *Pool) shut(addr, n uintptr) error {
	if p.markers {
		return sys.GuardInstall(addr, n)
	}
	return sys.Protect(addr, n, sys.NoAccess)
}

// covered is the part of the slots in use from which on a stack has one object at most: long-lived
// objects of one site must not fill the pool (kernel: kfence.skip_covered_thresh, 75 %).
const covered = Slots * 3 / 4

// Take returns a slot, whose page can be written and has any content, or ok false if there is none
// for an object that the stack allocates. The caller calls Begin, or Release if it has no use for
// the slot.
func (p *Pool) Take(stack Stack) (slot int, ok bool) {
	if slot, ok = p.take(stack.hash()); !ok {
		return 0, false
	}
	if p.open(p.pageAddr(slot), mem.PageSize) != nil { // no memory for it, or too many mappings
		p.put(slot)
		return 0, false
	}
	return slot, true
}

func (p *Pool) take(hash uint64) (slot int, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.n == 0 || Slots-p.n >= covered && p.hasStack(hash) {
		return 0, false
	}
	slot = int(p.queue[p.first])
	p.first = (p.first + 1) % Slots
	p.n--
	p.stacks[slot] = hash
	return slot, true
}

// hasStack reports whether an object in use was allocated by a stack with the hash. The caller
// holds mu.
func (p *Pool) hasStack(hash uint64) bool {
	for _, h := range p.stacks {
		if h == hash {
			return true
		}
	}
	return false
}

// put puts a slot at the end of the queue.
func (p *Pool) put(slot int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue[(p.first+p.n)%Slots] = uint8(slot)
	p.n++
	p.stacks[slot] = 0
}

// Page returns the number of a slot's page in the arena.
func (p *Pool) Page(slot int) uint32 { return p.run.Page + 2*uint32(slot) + 1 }

func (p *Pool) pageAddr(slot int) uintptr { return p.base + (2*uintptr(slot)+1)*mem.PageSize }

// Shift returns where in its page an object is to begin that takes the given number of bytes: at
// the page's beginning or its end, at random, so that underflows and overflows both meet a guard.
func Shift(bytes uintptr) uintptr {
	if rand.Uint32()&1 == 0 {
		return 0
	}
	return mem.PageSize - bytes
}

// inUse returns the number of slots that are in use.
func (p *Pool) inUse() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Slots - p.n
}
