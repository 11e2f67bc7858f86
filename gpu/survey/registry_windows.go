package survey

import winreg "golang.org/x/sys/windows/registry"

// registry lists the manifests of a kind (Drivers, ExplicitLayers) that the
// machine's and the user's registry name with the value 0, which switches them on.
// Drivers of the vendors are named at their devices' keys besides, which the
// loader alone reads: that there is none here does not say that there is none.
func registry(kind string) (files []string) {
	for _, root := range []winreg.Key{winreg.LOCAL_MACHINE, winreg.CURRENT_USER} {
		k, err := winreg.OpenKey(root, `SOFTWARE\Khronos\Vulkan\`+kind, winreg.QUERY_VALUE)
		if err != nil {
			continue
		}
		names, err := k.ReadValueNames(0)
		if err == nil {
			for _, name := range names {
				if v, _, err := k.GetIntegerValue(name); err == nil && v == 0 {
					files = append(files, name)
				}
			}
		}
		k.Close()
	}
	return files
}
