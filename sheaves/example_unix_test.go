//go:build unix

package sheaves_test

import (
	"context"
	"fmt"
	"log"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/sheaves"
)

// An account is what the example allocates.
type account struct {
	id      uint64
	balance atomic.Int64
	_       [48]byte
}

const accountSize = unsafe.Sizeof(account{})

// A block is a sheaves.Source: accounts cut from one mapping, and a list of the free ones.
type block struct {
	mem []byte

	mu        sync.Mutex
	free      []unsafe.Pointer
	reclaimed int
}

func newBlock(bytes int) (*block, error) {
	mem, err := syscall.Mmap(-1, 0, bytes, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil, err
	}
	b := &block{mem: mem}
	for off := uintptr(0); off+accountSize <= uintptr(bytes); off += accountSize {
		b.free = append(b.free, unsafe.Pointer(&mem[off]))
	}
	return b, nil
}

// Refill gives as many free accounts as there are.
func (b *block) Refill(node int, dst []unsafe.Pointer, strict bool) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := copy(dst, b.free[max(0, len(b.free)-len(dst)):])
	b.free = b.free[:len(b.free)-n]
	return n
}

// Flush takes accounts back.
func (b *block) Flush(objs []unsafe.Pointer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free = append(b.free, objs...)
}

// Reclaim is the destructor. All accounts can be allocated again afterwards.
func (b *block) Reclaim(objs []unsafe.Pointer) (kept int) {
	for _, p := range objs {
		(*account)(p).id = 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reclaimed += len(objs)
	return len(objs)
}

// NodeOf is never called, since there is one node.
func (b *block) NodeOf(unsafe.Pointer) int { return 0 }

// A pool of objects of one's own gets per-CPU sheaves, and frees that wait for readers.
func ExampleNew() {
	pool, err := newBlock(1 << 20)
	if err != nil {
		log.Fatal(err)
	}
	domain := new(rcu.Domain)
	set, err := sheaves.New(sheaves.Config{
		Source:     pool,
		Domain:     domain,
		ObjectSize: accountSize,
		Range:      sheaves.Range{Base: uintptr(unsafe.Pointer(&pool.mem[0])), Bytes: uintptr(len(pool.mem))},
	})
	if err != nil {
		log.Fatal(err)
	}

	var current atomic.Pointer[account]
	p, err := set.Alloc()
	if err != nil {
		log.Fatal(err)
	}
	first := (*account)(p)
	first.id = 7
	first.balance.Store(100)
	current.Store(first)

	// A reader on any goroutine.
	section := domain.Enter()
	fmt.Println("account", current.Load().id, "has", current.Load().balance.Load())
	section.Exit()

	// A writer takes the account away. Readers that still have it keep it until they exit.
	current.Store(nil)
	set.FreeRCU(p)
	if err := set.Barrier(context.Background()); err != nil {
		log.Fatal(err)
	}
	fmt.Println("reclaimed:", pool.reclaimed)

	set.Close()
	fmt.Println("all accounts are back:", len(pool.free) == len(pool.mem)/int(accountSize))
	if err := syscall.Munmap(pool.mem); err != nil {
		log.Fatal(err)
	}

	// Output:
	// account 7 has 100
	// reclaimed: 1
	// all accounts are back: true
}
