package slub_test

import (
	"testing"
	"unsafe"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/slub"
)

// Objects that hooks and destructors give to FreeDeferred are free after Close, also if their own
// hooks and destructors free others in turn: here each object of a chain frees the next. Hooks
// and destructors may call AllocNoWait, too.
func TestFreeDeferredFromHooks(t *testing.T) {
	for name, withHook := range map[string]bool{"destructor": false, "Free hook": true} {
		var c *slub.Cache
		next := map[uintptr]unsafe.Pointer{}
		var more []unsafe.Pointer
		calls := 0
		end := func(addr uintptr) {
			c.FreeDeferred(next[addr])
			delete(next, addr) // the next owner of addr has none
			if calls++; calls < 5 {
				more = append(more, first(c.AllocNoWait()))
				return
			}
			for _, p := range more {
				c.FreeDeferred(p)
			}
			more = nil
		}
		cfg := slub.Config{Size: 64}
		if withHook {
			cfg.Hooks.Free = func(o hooks.Object) bool { end(o.Addr); return false }
		} else {
			cfg.RCUDtor = func(p unsafe.Pointer) { end(uintptr(p)) }
		}
		c = open(t, nil, cfg)
		ps := take(t, c, 20)
		if withHook {
			for i, p := range ps[1:] {
				next[uintptr(ps[i])] = p
			}
			c.Free(ps[0])
		} else {
			for i, p := range ps[:10] {
				next[uintptr(p)] = ps[10+i]
				c.FreeRCU(p)
			}
		}
		if err := c.Close(); err != nil || calls < 10 || more != nil {
			t.Errorf("%s: %v after %d calls", name, err, calls)
		}
	}
}
