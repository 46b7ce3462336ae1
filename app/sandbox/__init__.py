"""The sandbox: a make-believe district to try Aimline on. It uses the product from outside; no room ever imports it."""
