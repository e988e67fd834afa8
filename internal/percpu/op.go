package percpu

import (
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
)

// A Pop takes the top object of the calling CPU's stack; when the stack is empty,
// held or closed its slow path answers instead. A Free puts an object on that stack if
// its owner word is the stack's, and else leaves it to its slow path.
//
// Both lie inside the cache that they belong to, must not be copied or moved after
// Init, and are constant from then on. They are what a func value of Go points to: code,
// then the words that the code finds through the context register. Func hands them out
// as such, so that an operation costs its user one load and one indirect call: no
// word in between, and no argument for what is constant.
type Pop struct {
	code  uintptr // see Func
	slots uintptr // address of CPU 0's stack
	slow  PopFunc
}

// Free is described with Pop. Its code reads it up to the Filter's end.
type Free struct {
	code uintptr
	Filter
	slow FreeFunc
}

// PopFunc is the signature of a Pop and of its slow path. They have to be the very
// same, as must those of a Free: the operation goes on in its slow path by a jump, and
// Go's register ABI has the caller reserve stack space for as many arguments as it
// passes, where the callee may write.
type PopFunc func() (unsafe.Pointer, error)

// FreeFunc is the signature of a Free and of its slow path.
type FreeFunc func(p unsafe.Pointer)

// Init makes p an operation on stacks k of s. slow is called without the stack's lock,
// on the caller's goroutine.
func (p *Pop) Init(s Slots, k Kind, slow PopFunc) {
	p.slots, p.slow = s.base+uintptr(k), slow
	current.initPop(p)
}

// Pass makes p an operation that always takes the slow path.
func (p *Pop) Pass(slow PopFunc) {
	p.slow = slow
	p.pass()
}

// Init makes f an operation on the stacks that the filter serves, with slow as for
// Pop.Init.
func (f *Free) Init(filter Filter, slow FreeFunc) {
	f.Filter, f.slow = filter, slow
	current.initFree(f)
}

// A Free's hot part is a cache line.
const _ = mem.CacheLine - unsafe.Offsetof(Free{}.slow)
