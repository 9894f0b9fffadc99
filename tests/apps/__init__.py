"""Flask apps that the tests run under real servers, as "tests.apps.<module>:create_app()"."""
