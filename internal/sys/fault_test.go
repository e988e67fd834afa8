package sys

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

var errTest = errors.New("made to fail")

// callers calls every function, with arguments that do no harm if the call reaches the kernel.
var callers = [numCalls]func() error{
	CallReserve:      func() error { _, err := Reserve(0); return err },
	CallReplace:      func() error { return Replace(0, 0, NoAccess) },
	CallProtect:      func() error { return Protect(0, 0, NoAccess) },
	CallDumpCore:     func() error { return DumpCore(0, 0, true) },
	CallSetName:      func() error { return SetName(0, 0, "") },
	CallGuard:        func() error { _, err := Guard(0); return err },
	CallGuardInstall: func() error { return GuardInstall(0, 0) },
	CallGuardRemove:  func() error { return GuardRemove(0, 0) },
	CallUnmap:        func() error { return Unmap(0, 0) },
	CallDiscard:      func() error { return Discard(0, 0) },
	CallPopulate:     func() error { return Populate(0, 0) },
	CallAdviseHuge:   func() error { return AdviseHuge(0, 0, true) },
	CallLock:         func() error { return Lock(0, 0) },
	CallUnlock:       func() error { return Unlock(0, 0) },
	CallReadRSS:      func() error { _, err := ReadRSS(); return err },
	CallCgroupLimit:  func() error { _, err := CgroupLimit(); return err },
	CallReadPressure: func() error { _, err := ReadPressure(); return err },
	CallOpenPressure: func() error {
		n, err := OpenPressureNotices()
		if err == nil {
			n.Close()
		}
		return err
	},
	CallWaitPressure:           func() error { _, err := new(PressureNotices).Wait(1); return err },
	CallRAM:                    func() error { _, _, err := RAM(); return err },
	CallMbind:                  func() error { return Mbind(0, 0, 0, nil, 0) },
	CallMempolicy:              func() error { _, _, err := Mempolicy(0); return err },
	CallNodesOf:                func() error { return NodesOf(nil, nil) },
	CallMovePages:              func() error { return MovePages(nil, 0, nil) },
	CallReadNumaMaps:           func() error { _, err := ReadNumaMaps(); return err },
	CallMemsAllowed:            func() error { _, err := MemsAllowed(); return err },
	CallAffinity:               func() error { _, err := Affinity(); return err },
	CallSetAffinity:            func() error { return SetAffinity(nil) },
	CallCPU:                    func() error { _, _, err := CPU(); return err },
	CallMembarrierRegister:     MembarrierRegister,
	CallMembarrier:             Membarrier,
	CallMembarrierRegisterRseq: MembarrierRegisterRseq,
	CallMembarrierRseq:         func() error { return MembarrierRseq(0) },
	CallRseqArea:               func() error { _, err := RseqArea(); return err },
	CallRegisterRseq:           RegisterRseq,
	CallWatchGuards:            func() error { return WatchGuards(nil) },
	CallSleepAndStore:          func() error { return SleepAndStore(new(uint64), time.Nanosecond) },
}

func TestEveryCallCanFail(t *testing.T) {
	for c, call := range callers {
		restore := FailNth(Call(c), 1, errTest)
		first, second := call(), call()
		restore()
		if !errors.Is(first, errTest) || !strings.HasPrefix(fmt.Sprint(first), callNames[c]+": ") {
			t.Errorf("%v: failed with %v", Call(c), first)
		}
		if errors.Is(second, errTest) {
			t.Errorf("%v: one failure was armed, two happened", Call(c))
		}
	}
}

func TestFailNthCounts(t *testing.T) {
	for n, want := range map[int][]int{
		1:  {1},
		3:  {3},
		0:  {1, 2, 3, 4, 5},
		-1: {1, 2, 3, 4, 5},
		-4: {4, 5},
	} {
		restore := FailNth(CallRAM, n, errTest)
		var failed []int
		for i := 1; i <= 5; i++ {
			if errors.Is(callers[CallRAM](), errTest) {
				failed = append(failed, i)
			}
		}
		restore()
		if !slices.Equal(failed, want) {
			t.Errorf("FailNth(%d) failed calls %v, want %v", n, failed, want)
		}
	}
}

func TestRestoreArmsTheOuterFault(t *testing.T) {
	inner := errors.New("inner")
	restoreOuter := FailNth(CallRAM, 0, errTest)
	restoreInner := FailNth(CallRAM, 0, inner)
	if err := callers[CallRAM](); !errors.Is(err, inner) {
		t.Errorf("inner fault: %v", err)
	}
	restoreInner()
	if err := callers[CallRAM](); !errors.Is(err, errTest) {
		t.Errorf("outer fault: %v", err)
	}
	restoreOuter()
	if err := callers[CallRAM](); errors.Is(err, errTest) {
		t.Errorf("no fault: %v", err)
	}
}

func TestCallNames(t *testing.T) {
	if i := slices.Index(callNames[:], ""); i >= 0 {
		t.Errorf("call %d has no name", i)
	}
	if s := numCalls.String(); s != fmt.Sprintf("Call(%d)", numCalls) {
		t.Errorf("an unknown call is %q", s)
	}
}

func TestErrUnsupportedIsTheStandardOne(t *testing.T) {
	if !errors.Is(ErrUnsupported, errors.ErrUnsupported) {
		t.Error("errors.Is(ErrUnsupported, errors.ErrUnsupported) fails")
	}
}
