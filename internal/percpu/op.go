package percpu

import (
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
)

// A Pop takes the top object of the calling CPU's stack; if the stack is empty, held or closed, its
// slow path answers instead. A Free puts an object on that stack if the object's owner word is the
// stack's, and otherwise calls its slow path.
//
// Both lie inside the cache that they belong to, or refer to it by their slow path; they must not
// be copied or moved after Init, and only Replace changes them from then on. They have the form of
// what a func value of Go points to: code, then the words that the code finds through the context
// register. Func returns them as func values, so that an operation costs its user one load and one
// indirect call, without a word in between and without arguments for what is constant.
type Pop struct {
	code  uintptr // see Func
	slots uintptr // address of CPU 0's stack
	slow  PopFunc
}

// Free is described with Pop. Its code reads its words up to the end of the Filter.
type Free struct {
	code uintptr
	Filter
	slow FreeFunc
}

// PopFunc is the signature of a Pop and of its slow path. The two must be the same, and so must
// those of a Free: the operation jumps to its slow path, and in Go's register ABI the caller
// reserves stack space for the arguments that it passes, where the callee may write.
type PopFunc func() (unsafe.Pointer, error)

// FreeFunc is the signature of a Free and of its slow path.
type FreeFunc func(p unsafe.Pointer)

// Init makes p an operation on stacks k of s. slow is called without the stack's lock, on the
// caller's goroutine.
func (p *Pop) Init(s Slots, k Kind, slow PopFunc) {
	p.slots, p.slow = s.base+uintptr(k), slow
	current.initPop(p)
}

// SetSlowOnly makes p an operation that always takes the slow path.
func (p *Pop) SetSlowOnly(slow PopFunc) {
	p.slow = slow
	p.setSlowCode()
}

// SetSlowOnly makes f an operation that always takes the slow path. Its Filter stays as it is.
func (f *Free) SetSlowOnly(slow FreeFunc) {
	f.slow = slow
	f.setSlowCode()
}

// Init makes f an operation on the filter's stacks. slow is as for Pop.Init.
func (f *Free) Init(filter Filter, slow FreeFunc) {
	f.Filter, f.slow = filter, slow
	current.initFree(f)
}

// Replace makes p, which may be in use, do what q does, an operation on the same stacks. One caller
// at a time; q stays as it is.
//
// An operation that runs meanwhile may get the code of one and the slow path of the other. So the
// two must be such that either code may go on to either slow path: a sequence does so only before
// its commit, when nothing has happened to the object, or FreeZero has cleared it. The slow path is
// stored first. It pairs with the load in
// the code of p, which finds what the func value points to complete: the store is atomic, and the
// loads behind it depend on its word.
func (p *Pop) Replace(q *Pop) {
	storeFunc(unsafe.Pointer(&p.slow), unsafe.Pointer(&q.slow))
	atomic.StoreUintptr(&p.code, q.code)
}

// Replace is Pop.Replace. The Filter of f stays: q has the same stacks and objects, or no sequence.
func (f *Free) Replace(q *Free) {
	storeFunc(unsafe.Pointer(&f.slow), unsafe.Pointer(&q.slow))
	atomic.StoreUintptr(&f.code, q.code)
}

// storeFunc stores the func value that one address has at another one, in one step.
func storeFunc(to, from unsafe.Pointer) {
	atomic.StorePointer((*unsafe.Pointer)(to), *(*unsafe.Pointer)(from))
}

// The words of a Free that its code reads fit a cache line.
const _ = mem.CacheLine - unsafe.Offsetof(Free{}.slow)
