package slub

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
)

// badConfigs has for each field of Config what may be wrong with it, and what Validate
// then says behind the field's name.
var badConfigs = map[string][]struct {
	cfg  Config
	says string
}{
	"Name":          {{Config{Name: "no blanks"}, `"no blanks": want 1 to 64 letters, digits and _-.:/`}},
	"Size":          {{Config{Size: 4*mib + 1}, "4194305 is not within 1..4194304 bytes"}},
	"Align":         {{Config{Align: 24}, "24 is no power of two up to 4096"}, {Config{Align: 2 * mem.PageSize}, "8192 is no power of two up to 4096"}},
	"Ctor":          {{Config{Ctor: func(unsafe.Pointer) {}, Flags: InitOnFree}, "the flags InitOnAlloc and InitOnFree would undo its work"}},
	"RCUDtor":       {{Config{RCUDtor: func(unsafe.Pointer) {}, Flags: NoSheaves}, "needs sheaves, which the flag NoSheaves switches off"}},
	"FreePtrOffset": {{Config{FreePtrOffset: At(4)}, "4 is no multiple of 8 within the object's 64 bytes"}, {Config{Size: 1, FreePtrOffset: At(8)}, "8 is no multiple of 8 within the object's 1 byte"}},
	"SheafCapacity": {{Config{SheafCapacity: -1}, "-1 is not within 0..32767 objects"}},
	"BarnFull":      {{Config{BarnFull: -1}, "-1 sheaves are not within 0..2147483647"}},
	"BarnEmpty":     {{Config{BarnEmpty: math.MaxInt}, "9223372036854775807 sheaves are not within 0..2147483647"}},
	"MinPartial":    {{Config{MinPartial: -2}, "-2 is negative"}},
	"Slabs": {
		{Config{Slabs: Slabs{MinOrder: -1}}, ".MinOrder: -1 is not within 0..10"},
		{Config{Slabs: Slabs{MaxOrder: 11}}, ".MaxOrder: 11 is not within 0..10"},
		{Config{Slabs: Slabs{MinOrder: 5, MaxOrder: 2}}, ".MinOrder: 5 is above MaxOrder, which is 2"},
		{Config{Slabs: Slabs{MinOrder: 4}}, ".MinOrder: 4 is above MaxOrder, which is 3"},
		{Config{Slabs: Slabs{MinObjects: -1}}, ".MinObjects: -1 is negative"},
	},
	"Flags": {
		{Config{Flags: 1 << 31}, "there is no flag 0x80000000"},
		{Config{Flags: TypesafeByRCU | InitOnAlloc}, "readers of TypesafeByRCU would find objects that InitOnAlloc or InitOnFree clears"},
	},
	"RCUDelay":     {{Config{RCUDelay: -time.Second}, "-1s is negative"}},
	"RCUSoftLimit": {{Config{RCUSoftLimit: 3, RCUHardLimit: 2}, "3 bytes are above RCUHardLimit, which is 2"}},
	// Of these every value means something.
	"Hooks": nil, "Domain": nil, "RCUHardLimit": nil, "RCUMaxWait": nil,
}

// Each problem of a config names cache, field and value.
func TestConfigTexts(t *testing.T) {
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		cases, known := badConfigs[f.Name]
		if !known && f.IsExported() {
			t.Errorf("Config.%s: nothing is said of what may be wrong with it", f.Name)
		}
		for _, c := range cases {
			name := "victim"
			if c.cfg.Name == "" {
				c.cfg.Name = name
			} else {
				name = c.cfg.Name
			}
			if c.cfg.Size == 0 {
				c.cfg.Size = 64
			}
			separator := ": "
			if strings.HasPrefix(c.says, ".") {
				separator = ""
			}
			_, err := New(nil, c.cfg)
			saysProblem(t, err, `slub: cache "`+name+`": Config.`+f.Name+separator+c.says)
		}
	}
}

// So do those of Buckets, of types, and of what methods are asked for.
func TestProblemTexts(t *testing.T) {
	buckets := func(cfg BucketsConfig) error {
		_, err := NewBuckets(nil, cfg)
		return err
	}
	c := open(t, nil, Config{Name: "sheaved", Size: 64})
	bare := open(t, nil, Config{Name: "bare", Size: 64, Flags: NoSheaves})
	_, zero := NewTyped[struct{}](nil, Config{Name: "empty"})
	_, small := NewTyped[[2]uint64](nil, Config{Size: 7})
	_, skewed := NewTyped[point](nil, Config{Align: 4})
	_, large := New(newArena(t, smallArena), Config{Name: "large", Size: 4 * mib, Ctor: func(unsafe.Pointer) {}})
	_, none := c.Prefill(0)
	_, sheafless := bare.Prefill(1)
	pre, err := c.Prefill(1)
	if err != nil {
		t.Fatal(err)
	}
	pre.Return()
	for want, err := range map[string]error{
		`buckets "no blanks": BucketsConfig.Name: "no blanks" makes caches such as "no blanks-32768": want 1 to 64 letters, digits and _-.:/`: buckets(BucketsConfig{Name: "no blanks"}),
		`buckets "malloc": BucketsConfig.Partitions: 65 is not within 0..64`:                                                                  buckets(BucketsConfig{Partitions: 65}),
		`buckets "malloc": BucketsConfig.Partitions: -1 is not within 0..64`:                                                                  buckets(BucketsConfig{Partitions: -1}),
		`buckets "malloc": BucketsConfig.Flags: 0x8 is neither InitOnAlloc nor InitOnFree`:                                                    buckets(BucketsConfig{Flags: NoSheaves | InitOnFree}),
		`buckets "up": BucketsConfig.RCUSoftLimit: 3 bytes are above RCUHardLimit, which is 2`:                                                buckets(BucketsConfig{Name: "up", RCUSoftLimit: 3, RCUHardLimit: 2}),

		`cache "empty": Config.Size: type struct {} has none`:                                                                  zero,
		`cache "size-7": Config.Size: 7 is less than the 16 of [2]uint64`:                                                      small,
		`cache "slub.point": Config.Align: 4 is less than the 8 of slub.point`:                                                 skewed,
		`cache "large": Config.Size: 4194304, with alignment and link 4194312, does not fit the largest slab of 4194304 bytes`: large,

		`cache "sheaved": SetSheafCapacity: -1 is not within 0..32767 objects`:                  c.SetSheafCapacity(-1),
		`cache "bare": SetSheafCapacity: the cache has NoSheaves`:                               bare.SetSheafCapacity(5),
		`cache "sheaved": SetBarnLimits.full: -1 sheaves are not within 0..2147483647`:          c.SetBarnLimits(-1, 0),
		`cache "sheaved": SetBarnLimits.empty: 2147483648 sheaves are not within 0..2147483647`: c.SetBarnLimits(0, 1<<31),
		`cache "bare": SetBarnLimits: the cache has NoSheaves`:                                  bare.SetBarnLimits(5, 5),
		`cache "sheaved": SetMinPartial: -1 is negative`:                                        c.SetMinPartial(-1),
		`cache "sheaved": Prefill: 0 objects, want 1 or more`:                                   none,
		`cache "bare": Prefill: the cache has NoSheaves`:                                        sheafless,
		`cache "sheaved": Refill: the prefilled sheaf was returned`:                             pre.Refill(1),
	} {
		saysProblem(t, err, "slub: "+want)
	}
}

func saysProblem(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case !errors.Is(err, ErrConfig):
		t.Errorf("%v, want %s", err, want)
	case err.Error() != want:
		t.Errorf("text is\n%v, want\n%s", err, want)
	}
}
