package sheaves

import "github.com/slubd/slubd/internal/percpu"

// setSpare replaces the spare; nil for none. The caller holds the stack's lock, as for the other
// functions here that are given a stack.
func setSpare(st *percpu.Stack, sh *sheaf) {
	if sh == nil {
		st.SetSpare(0, 0)
	} else {
		st.SetSpare(sh.addr(), int(sh.size))
	}
}

// maxMargin is more objects than the balance of some hundred operations changes by, and few enough
// that to copy them costs little next to the stack's lock.
const maxMargin = 32

// margin is how many objects, and how much room for others, main has at least when it has turned to
// a spare that has them. So a CPU whose frees and allocations keep the balance is back rarely. When
// the two have only changed places, as in the kernel, main is full or empty, and two operations may
// bring it back: where many sizes were in use, one in two hundred did.
func margin(sh *sheaf) int { return min(maxMargin, int(sh.limit)/2) }

// MaxPortion bounds how many objects an Alloc takes from the Source, or a Free gives back to it,
// when the barn can't serve it. The kernel fills and empties whole sheaves. Here these have up to
// some hundred objects, each with a cache miss or two: one operation in hundreds took 10 to 30 us.
const MaxPortion = 32

// portion is how many objects go to or come from the Source in one operation.
func portion(sh *sheaf) int { return min(MaxPortion, int(sh.limit)) }

// share moves n objects, if that is positive, from the top of one sheaf to the top of another. They
// keep their order.
func share(to, from *sheaf, n int) {
	n = min(n, int(from.size), int(to.limit-to.size))
	if n <= 0 {
		return
	}
	rest := int(from.size) - n
	copy(to.slots()[to.size:], from.slots()[rest:from.size])
	to.size += uint32(n)
	from.size = uint32(rest)
}

// refillFromSpare gives main, which is empty, objects of the spare: all of them, unless main would
// be short of room then. It returns false if there are none.
func refillFromSpare(st *percpu.Stack) bool {
	spare := sheafOf(st.Spare)
	if spare == nil || spare.size == 0 {
		return false
	}
	main, few := detachMain(st), margin(spare)
	if int(spare.size) <= int(spare.limit)-few {
		main, spare = spare, main
	} else {
		share(main, spare, few)
	}
	install(st, main, st.Own())
	setSpare(st, spare)
	return true
}

// spillToSpare exchanges main, which is full, and the spare, which is not. The objects on top come
// back, as far as main is short of objects then.
func spillToSpare(st *percpu.Stack) {
	full, main := detachMain(st), sheafOf(st.Spare)
	share(main, full, margin(main)-int(main.size))
	install(st, main, st.Own())
	setSpare(st, full)
}

// takeSpare takes the calling CPU's spare, whatever it holds, or returns nil. The CPU is on the
// given node.
func (c *cpuSheaves) takeSpare(node int) *sheaf {
	st, _ := c.lockMain()
	if st == nil {
		return nil
	}
	defer c.unlock(st)
	if st.Own() != c.set.owners[node] {
		return nil
	}
	spare := sheafOf(st.Spare)
	setSpare(st, nil)
	return spare
}

// takeEmptySpare takes the calling CPU's spare if it is empty, or returns nil.
func (c *cpuSheaves) takeEmptySpare() *sheaf {
	st, _ := c.lockMain()
	if st == nil {
		return nil
	}
	defer c.unlock(st)
	spare := sheafOf(st.Spare)
	if spare == nil || spare.size > 0 {
		return nil
	}
	setSpare(st, nil)
	return spare
}

// findEmpty gets an empty sheaf: the CPU's spare if that is empty, else one of the barn's, else a
// new one; nil if there is no memory. No lock is held.
func (c *cpuSheaves) findEmpty(b *barn, cpu int) (empty *sheaf) {
	if c.slots.Stack(cpu, percpu.Main).SpareLooksEmpty() {
		empty = c.takeEmptySpare()
	}
	if empty == nil {
		empty = b.getEmpty()
	}
	if empty == nil {
		empty, _ = c.set.newSheaf(c.set.Capacity())
	}
	return empty
}
