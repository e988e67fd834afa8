//go:build cgo

package sys

import (
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/slubd/slubd/internal/testutil"
)

// Static programs load no library before libc, so TestOtherLibcs leaves these tests out: their
// names don't begin as those that it runs.

const rseqSignature = 0x53053053

// registeredWith fails unless the calling thread's area is registered with that length. The kernel
// tells: a second registration is EBUSY if it is as the first, and EINVAL with another length.
func registeredWith(t *testing.T, area Rseq, want uint32) {
	t.Helper()
	addr := threadArea(t, area)
	for _, length := range []uint32{32, 33, 64, 96} {
		_, _, e := unix.RawSyscall6(unix.SYS_RSEQ, addr, uintptr(length), 0, rseqSignature, 0, 0)
		if registered := e == unix.EBUSY; registered != (length == want) {
			t.Errorf("length %d: %v, want an area of %d", length, e, want)
		}
	}
}

// TestOwnAreaLengths: threads are registered with the length that the kernel asks for, and with 32
// bytes if it asks for no more, for more than an area has, or refuses what it has asked for. It
// undoes the registration of a thread that ends, whatever its length.
func TestOwnAreaLengths(t *testing.T) {
	preload := testutil.Preload(t, testutil.FakeAuxv)
	for _, c := range []struct {
		size, align int
		refused     uint32
		want        uint32
	}{
		{0, 0, 0, 32}, // before Linux 6.3
		{28, 32, 0, 32},
		{32, 32, 0, 32},
		{33, 64, 0, 33}, // Linux 7.1
		{33, 64, 33, 32},
		{64, 64, 0, 64},
		{65, 128, 0, 32},
		{33, 128, 0, 32},
	} {
		t.Run(fmt.Sprintf("%d aligned to %d without %d", c.size, c.align, c.refused), func(t *testing.T) {
			if !testutil.Child(t, testutil.OwnArea(preload, strconv.Itoa(c.size), strconv.Itoa(c.align))...) {
				return
			}
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			area, err := RseqArea()
			if err != nil || area.Owner != OwnerSlubd || RseqSize() != 0 {
				t.Fatalf("%+v, %d bytes, %v", area, RseqSize(), err)
			}
			if c.refused != 0 {
				err := RefuseThread(Refusal{unix.SYS_RSEQ, unix.EINVAL, c.refused})
				testutil.NeedHost(t, "seccomp", "linux-image-amd64", err)
			}
			if err := RegisterRseq(); err != nil {
				t.Fatal(err)
			}
			if n := RseqSize(); n != c.want {
				t.Errorf("%d bytes are kept up to date, want %d", n, c.want)
			}
			registeredWith(t, area, c.want)
			if c.refused == 0 {
				unregisteredAtExit(t, area)
			}
		})
	}
}

// TestLibcAreaSizes: areas of each size that versions of glibc tell are used as they are. Where
// it tells none although it has registered its threads, as another library may, the kernel refuses
// a second registration, and the area says so.
func TestLibcAreaSizes(t *testing.T) {
	const code = `
#include <stdlib.h>
unsigned int __rseq_size;
__attribute__((constructor)) static void fake(void) { __rseq_size = atoi(getenv("SLUBD_TEST_RSEQ_SIZE")); }
`
	preload := testutil.Preload(t, code)
	for _, size := range []string{"20", "28", "32", "33", "0"} {
		t.Run(size, func(t *testing.T) {
			if !testutil.Child(t, append(preload, "SLUBD_TEST_RSEQ_SIZE="+size)...) {
				return
			}
			area, err := RseqArea()
			if err != nil || fmt.Sprint(RseqSize()) != size {
				t.Fatalf("%+v, %d bytes, %v", area, RseqSize(), err)
			}
			if size != "0" {
				if area.Owner != OwnerLibc {
					t.Errorf("owner %q", area.Owner)
				}
				tracksCPU(t, area)
				return
			}
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			if err := RegisterRseq(); !errors.Is(err, unix.EINVAL) || area.Owner != OwnerSlubd {
				t.Errorf("%+v, a second area of a thread: %v", area, err)
			}
			if cpu := cpuID(t, threadArea(t, area)); cpu != RseqRefused {
				t.Errorf("cpu_id is %d", cpu)
			}
		})
	}
}
