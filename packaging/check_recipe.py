"""Lets rattler-build read the conda recipe and work it out; no channel is asked, and nothing is built."""

from pathlib import Path

from rattler_build import Stage0Recipe, VariantConfig

RECIPE = Path(__file__).parent / "conda" / "recipe.yaml"

if __name__ == "__main__":
    for variant in Stage0Recipe.from_file(RECIPE).render(VariantConfig()):
        package = variant.recipe.package
        print(f"{RECIPE.name}: {package.name} {package.version} can be built")
