package sheaves

import (
	"math"
	"math/rand/v2"
	"unsafe"

	"github.com/slubd/slubd/internal/percpu"
)

// A Set with Config.SampleMean picks allocations at random, each with the same probability and
// independently of all others, for a caller that profiles them. The sequences of its stacks need no
// random number for it, and no counter of their own: a stack is armed for the operation that is
// picked (percpu.Stack.Arm). Since a stack counts pushes as well as pops, what is picked is an
// operation. If it turns out to be a push, or an allocation of several objects such as one of
// AllocBulk, the pick is dropped, and the distance to the next one is drawn. That distance doesn't
// depend on the kind of the operations, so each pop has the same chance. Where every object is
// freed at once half of the picks are dropped; each costs a slow path.

// TryAllocSample is TryAlloc for a caller that samples. If weight is not 0 the caller's allocation
// is one of those that are picked, and stands for that number of allocations: nothing has been
// taken, and the caller allocates the object in its own way, or by TryAlloc.
func (s *Set) TryAllocSample() (p unsafe.Pointer, weight float64) {
	st := s.lockNonEmpty(anyNode)
	if st == nil {
		return nil, 0
	}
	if !st.Due() {
		s.renew(st)
	}
	if st.Due() {
		if weight = s.rearm(st); weight > 0 {
			s.unlock(st)
			return nil, weight
		}
	}
	p = st.Pop()
	s.unlock(st)
	return p, 0
}

// renew draws the distance again, from the next operation on, if the mean may have become smaller.
// Otherwise a CPU that was busy would sample nothing for as long as it has drawn then. No pick is
// lost, since the stack is not due, and each operation keeps the chance that the mean says, which
// doesn't depend on the operations before it. A site that leaks gets here: it uses up sheaves.
//
// It loads the epoch first, then drawGap the scale; the caller's Config stores the scale first.
func (s *Set) renew(st *percpu.Stack) {
	if s.sampleEpoch == nil {
		return
	}
	if epoch := s.sampleEpoch.Load(); epoch != st.Epoch && s.sampleMean > 0 {
		st.Epoch = epoch
		st.Arm(s.drawGap(st))
	}
}

// TryAllocNodeSample is TryAllocNode for a caller that samples; the weight is as TryAllocSample's.
// An allocation that the stack can't serve is not picked, even if the stack is due: its caller
// draws for what the Source gives, and nothing must be drawn twice. A caller that has got a weight
// but makes no sample calls TryAllocNodeUnsampled then.
func (s *Set) TryAllocNodeSample(node int) (p unsafe.Pointer, weight float64) {
	c := s.sheavesForCounted(node)
	if c == nil {
		return nil, 0
	}
	return c.allocNode(node, true)
}

// TryAllocNodeUnsampled is TryAllocNode for an allocation that TryAllocNodeSample has picked and
// counted.
func (s *Set) TryAllocNodeUnsampled(node int) unsafe.Pointer {
	c := s.sheavesFor(node)
	if c == nil {
		return nil
	}
	p, _ := c.allocNode(node, false)
	return p
}

// SampleMean returns the mean number of allocations from one that is picked to the next, for what a
// CPU does at the moment; see Config.
func (s *Set) SampleMean() float64 {
	if s.sampleScale == nil {
		return s.sampleMean
	}
	return s.sampleMean * s.sampleScale()
}

// SampleWeight returns how many allocations one stands for that was picked with the given mean.
func SampleWeight(mean float64) float64 { return -1 / math.Expm1(-1/mean) }

// armSample arms a stack that has got its first sheaf. The caller holds its lock, as for the
// functions below.
func (s *Set) armSample(st *percpu.Stack) {
	if s.sampleMean > 0 {
		st.Arm(s.drawGap(st))
	}
}

// rearm arms a stack that is due. If the allocation that has found it so is one of those that are
// picked it returns the weight, otherwise 0. An allocation that is picked must not be popped: the
// stack counts from the operation after it.
func (s *Set) rearm(st *percpu.Stack) (weight float64) {
	if s.sampleMean == 0 {
		st.Arm(percpu.Never)
		return 0
	}
	if !st.AtTrigger() { // a push was picked, or a pop that did not look
		if gap := s.drawGap(st); gap > 1 { // from the operation before this one
			st.Arm(gap)
			return 0
		}
	}
	weight = SampleWeight(math.Float64frombits(st.Note))
	st.Arm(s.drawGap(st))
	return weight
}

// dropPick arms a stack that is due again if an operation before the next one was picked, and
// reports whether one was.
func (s *Set) dropPick(st *percpu.Stack) bool {
	if st.AtTrigger() {
		return false
	}
	st.Arm(s.drawGap(st))
	return true
}

// drawGap returns a random number of operations from one that is picked to the next: each operation
// is picked with the probability 1 - exp(-1/mean). It leaves the mean in the stack, since it may be
// another when the pick is made.
func (s *Set) drawGap(st *percpu.Stack) uint64 {
	mean := s.SampleMean()
	st.Note = math.Float64bits(mean)
	gap := math.Ceil(mean * rand.ExpFloat64())
	return uint64(min(max(gap, 1), percpu.Never-1))
}
