package percpu

import (
	"testing"
	"unsafe"
)

func TestDispatch(t *testing.T) {
	if errDispatch != nil {
		t.Error(errDispatch)
	}
	dispatching = false
	defer func() { dispatching = true }()
	if testDispatch() == nil {
		t.Error("a choice that is never made passes its test")
	}
	slow := 0
	var pop PopBySize
	pop.Init(func(int) (unsafe.Pointer, error) { slow++; return nil, nil })
	pop.Fill(make([]*Pop, MaxFine/FineStep), nil)
	var free FreeByOwner
	free.Init(func(unsafe.Pointer) { slow++ })
	free.Fill(0, 1, nil, 0, make([]FreeCell, 1))
	_, _ = pop.Func()(1)
	if free.Func()(nil); slow != 2 {
		t.Errorf("%d of 2 operations took the slow path", slow)
	}
}
