//go:build !linux

package sys

import "time"

// These are the functions of the _linux files for other systems, which have no such calls. Injected
// errors come first, as there, so that tests of callers run anywhere.

func (c Call) unsupported() error {
	if err := c.injected(); err != nil {
		return err
	}
	return c.wrap(ErrUnsupported)
}

// Reserve returns ErrUnsupported.
func Reserve(n uintptr) (addr uintptr, err error) { return 0, CallReserve.unsupported() }

// ReserveAs returns ErrUnsupported.
func ReserveAs(n uintptr, access Access) (addr uintptr, err error) {
	return 0, CallReserve.unsupported()
}

// Replace returns ErrUnsupported.
func Replace(addr, n uintptr, access Access) error { return CallReplace.unsupported() }

// Protect returns ErrUnsupported.
func Protect(addr, n uintptr, access Access) error { return CallProtect.unsupported() }

// DumpCore returns ErrUnsupported.
func DumpCore(addr, n uintptr, on bool) error { return CallDumpCore.unsupported() }

// SetName returns ErrUnsupported.
func SetName(addr, n uintptr, name string) error { return CallSetName.unsupported() }

// Guard returns ErrUnsupported.
func Guard(n uintptr) (addr uintptr, err error) { return 0, CallGuard.unsupported() }

// GuardInstall returns ErrUnsupported.
func GuardInstall(addr, n uintptr) error { return CallGuardInstall.unsupported() }

// GuardRemove returns ErrUnsupported.
func GuardRemove(addr, n uintptr) error { return CallGuardRemove.unsupported() }

// Monotonic returns 0: there are no guards whose age could be asked for.
func Monotonic() int64 { return 0 }

// Unmap returns ErrUnsupported.
func Unmap(addr, n uintptr) error { return CallUnmap.unsupported() }

// Discard returns ErrUnsupported.
func Discard(addr, n uintptr) error { return CallDiscard.unsupported() }

// Populate returns ErrUnsupported.
func Populate(addr, n uintptr) error { return CallPopulate.unsupported() }

// AdviseHuge returns ErrUnsupported.
func AdviseHuge(addr, n uintptr, on bool) error { return CallAdviseHuge.unsupported() }

// Lock returns ErrUnsupported.
func Lock(addr, n uintptr) error { return CallLock.unsupported() }

// Unlock returns ErrUnsupported.
func Unlock(addr, n uintptr) error { return CallUnlock.unsupported() }

// RAM returns ErrUnsupported.
func RAM() (total, free uint64, err error) { return 0, 0, CallRAM.unsupported() }

// ReadRSS returns ErrUnsupported.
func ReadRSS() (anonBytes uint64, err error) { return 0, CallReadRSS.unsupported() }

// CgroupLimit returns ErrUnsupported.
func CgroupLimit() (bytes uint64, err error) { return 0, CallCgroupLimit.unsupported() }

// ReadPressure returns ErrUnsupported.
func ReadPressure() (Pressure, error) { return Pressure{}, CallReadPressure.unsupported() }

// PressureNotices is never made.
type PressureNotices struct{ Stalls, Groups bool }

// OpenPressureNotices returns ErrUnsupported.
func OpenPressureNotices() (*PressureNotices, error) { return nil, CallOpenPressure.unsupported() }

// Wait returns ErrUnsupported.
func (*PressureNotices) Wait(most time.Duration) (stalled bool, err error) {
	return false, CallWaitPressure.unsupported()
}

// Close does nothing.
func (*PressureNotices) Close() {}

// Mbind returns ErrUnsupported.
func Mbind(addr, n uintptr, mode int, nodes []uint64, flags uint) error {
	return CallMbind.unsupported()
}

// Mempolicy returns ErrUnsupported.
func Mempolicy(addr uintptr) (mode int, nodes []uint64, err error) {
	return 0, nil, CallMempolicy.unsupported()
}

// ThreadPolicy returns ErrUnsupported.
func ThreadPolicy() (mode int, nodes []uint64, err error) {
	return 0, nil, CallMempolicy.unsupported()
}

// SetThreadPolicy returns ErrUnsupported.
func SetThreadPolicy(mode int, nodes []uint64) error { return CallMempolicy.unsupported() }

// NodesOf returns ErrUnsupported.
func NodesOf(addrs []uintptr, status []int32) error { return CallNodesOf.unsupported() }

// AddressesLimited reports false.
func AddressesLimited() bool { return false }

// MovePages returns ErrUnsupported.
func MovePages(addrs []uintptr, node int, status []int32) error { return CallMovePages.unsupported() }

// ReadNumaMaps returns ErrUnsupported.
func ReadNumaMaps() ([]byte, error) { return nil, CallReadNumaMaps.unsupported() }

// MemsAllowed returns ErrUnsupported.
func MemsAllowed() (list string, err error) { return "", CallMemsAllowed.unsupported() }

// Affinity returns ErrUnsupported.
func Affinity() ([]uint64, error) { return nil, CallAffinity.unsupported() }

// SetAffinity returns ErrUnsupported.
func SetAffinity(mask []uint64) error { return CallSetAffinity.unsupported() }

// CPU returns ErrUnsupported.
func CPU() (cpu, node int, err error) { return 0, 0, CallCPU.unsupported() }

// MembarrierRegister returns ErrUnsupported.
func MembarrierRegister() error { return CallMembarrierRegister.unsupported() }

// Membarrier returns ErrUnsupported.
func Membarrier() error { return CallMembarrier.unsupported() }

// MembarrierRegisterRseq returns ErrUnsupported.
func MembarrierRegisterRseq() error { return CallMembarrierRegisterRseq.unsupported() }

// MembarrierRseq returns ErrUnsupported.
func MembarrierRseq(cpu int) error { return CallMembarrierRseq.unsupported() }

// SleepAndStore returns ErrUnsupported.
func SleepAndStore(word *uint64, d time.Duration) error { return CallSleepAndStore.unsupported() }
