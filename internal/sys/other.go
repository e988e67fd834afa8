//go:build !linux

package sys

// The twins of the _linux files: nothing of it exists here. Injected errors
// come first, as there, so that tests of callers run anywhere.

func (c Call) unsupported() error {
	if err := c.injected(); err != nil {
		return err
	}
	return c.wrap(ErrUnsupported)
}

// Reserve returns ErrUnsupported.
func Reserve(n uintptr) (addr uintptr, err error) { return 0, CallReserve.unsupported() }

// Guard returns ErrUnsupported.
func Guard(n uintptr) (addr uintptr, err error) { return 0, CallGuard.unsupported() }

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

// Mbind returns ErrUnsupported.
func Mbind(addr, n uintptr, mode int, nodes []uint64, flags uint) error {
	return CallMbind.unsupported()
}

// Mempolicy returns ErrUnsupported.
func Mempolicy(addr uintptr) (mode int, nodes []uint64, err error) {
	return 0, nil, CallMempolicy.unsupported()
}

// NodesOf returns ErrUnsupported.
func NodesOf(addrs []uintptr, status []int32) error { return CallNodesOf.unsupported() }

// Affinity returns ErrUnsupported.
func Affinity() ([]uint64, error) { return nil, CallAffinity.unsupported() }

// SetAffinity returns ErrUnsupported.
func SetAffinity(mask []uint64) error { return CallSetAffinity.unsupported() }

// CPU returns ErrUnsupported.
func CPU() (cpu, node int, err error) { return 0, 0, CallCPU.unsupported() }

// MembarrierQuery returns ErrUnsupported.
func MembarrierQuery() (cmds int, err error) { return 0, CallMembarrierQuery.unsupported() }

// MembarrierRegister returns ErrUnsupported.
func MembarrierRegister() error { return CallMembarrierRegister.unsupported() }

// Membarrier returns ErrUnsupported.
func Membarrier() error { return CallMembarrier.unsupported() }

// MembarrierRegisterRseq returns ErrUnsupported.
func MembarrierRegisterRseq() error { return CallMembarrierRegisterRseq.unsupported() }

// MembarrierRseq returns ErrUnsupported.
func MembarrierRseq(cpu int) error { return CallMembarrierRseq.unsupported() }
