package gpu

import "testing"

// A driver that gives no version leaves no gap, one without a name is still a driver.
func TestDriverText(t *testing.T) {
	for _, c := range []struct {
		i    Info
		want string
	}{
		{Info{Driver: "SwiftShader driver", API: [3]uint32{1, 3, 0}}, "SwiftShader driver, Vulkan 1.3.0"},
		{Info{Driver: "llvmpipe", DriverInfo: "Mesa 22.3.6", API: [3]uint32{1, 3, 230}}, "llvmpipe Mesa 22.3.6, Vulkan 1.3.230"},
		{Info{API: [3]uint32{1, 1, 2}}, "unnamed driver, Vulkan 1.1.2"},
	} {
		if got := c.i.DriverText(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
