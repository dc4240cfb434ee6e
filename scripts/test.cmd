@py -3 "%~dp0test" %*
@exit /b %ERRORLEVEL%
