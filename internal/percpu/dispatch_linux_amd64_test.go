package percpu

import (
	"testing"
	"unsafe"
)

// TestSelfTestChoice: operations that choose pass their test, and fail it when they choose
// nothing, the wrong stack, or lose the slow path's argument.
func TestSelfTestChoice(t *testing.T) {
	stack, err := newRseq()
	if err != nil {
		t.Skip(err)
	}
	good := withRegisters(stack)
	if err := selfTestChoice(good); err != nil {
		t.Fatal(err)
	}
	for name, broken := range map[string]func(*engine){
		"no choice of sizes":  func(e *engine) { e.initPopBySize = stack.initPopBySize },
		"no choice of owners": func(e *engine) { e.initFreeByOwner = stack.initFreeByOwner },
		"sizes mangled": func(e *engine) {
			e.initPopBySize = func(p *PopBySize) {
				slow := p.slow
				p.slow = func(n int) (unsafe.Pointer, error) { return slow(n + 1) }
				good.initPopBySize(p)
			}
		},
		"a pointer mangled": func(e *engine) {
			e.initFreeByOwner = func(f *FreeByOwner) {
				slow := f.slow
				f.slow = func(p unsafe.Pointer) { slow(unsafe.Add(p, 8)) }
				good.initFreeByOwner(f)
			}
		},
		"a crash": func(e *engine) {
			e.initPopBySize = func(p *PopBySize) {
				p.slow = func(int) (unsafe.Pointer, error) { panic("bad ABI") }
				p.pass()
			}
		},
	} {
		e := good
		broken(&e)
		if selfTestChoice(e) == nil {
			t.Errorf("not noticed: %s", name)
		}
	}
}
